"""One holder at a time, and no lock outlives its holder."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from jaxgpt.runs.files.lock import RunLock
from jaxgpt.spec import JaxgptError
from jaxgpt.terminal import console

HOLD = """
import os, sys, time
from pathlib import Path
from jaxgpt.runs.files.lock import RunLock
with RunLock(Path(sys.argv[1])):
    child = os.fork() if "fork" in sys.argv else 0
    if child == 0:  # a fork speaks for itself: by then it has let go of what it inherited
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts another process that holds the lock of `tmp_path`; gives it and who spoke: its own id, or its fork's."""
    started = []

    def start(*options):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), *options], stdout=subprocess.PIPE, text=True
        )
        started.append(child)
        return child, int(child.stdout.readline())

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_a_second_run_is_refused_in_one_line_with_the_owner(tmp_path, holder):
    child, _ = holder()
    with pytest.raises(JaxgptError, match=f"in use by process {child.pid} on .*choose another --out") as caught:
        RunLock(tmp_path).__enter__()
    assert "\n" not in str(caught.value)


def test_a_killed_owner_is_reclaimed_with_a_line(tmp_path, holder):
    child, _ = holder()
    child.kill()
    child.wait()
    with console.capture() as said, RunLock(tmp_path):
        pass
    assert f"left behind by process {child.pid} on " in said.get() and said.get().count("\n") == 1


def test_a_forked_child_does_not_keep_a_killed_owners_lock(tmp_path, holder):
    child, grandchild = holder("fork")
    child.kill()
    child.wait()
    os.kill(grandchild, 0)
    try:
        with console.capture(), RunLock(tmp_path):
            pass
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_it_holds_within_one_process_and_opens_again(tmp_path):
    for _ in range(2):
        with console.capture() as said, RunLock(tmp_path / "new" / "run"):
            with pytest.raises(JaxgptError, match=f"process {os.getpid()}"):
                RunLock(tmp_path / "new" / "run").__enter__()
            with RunLock(tmp_path / "another"):
                pass
        assert said.get() == ""


def test_it_is_released_when_the_run_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path):
        raise ZeroDivisionError
    with console.capture() as said, RunLock(tmp_path):
        pass
    assert said.get() == ""


def test_what_cannot_be_locked_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(JaxgptError, match=r"file/run\.lock: cannot be opened"):
        RunLock(tmp_path / "file").__enter__()

    def unsupported(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(JaxgptError, match="has no file locks"):
        RunLock(tmp_path).__enter__()


def test_garbage_in_the_lock_file_does_not_matter(tmp_path):
    for text in (b"\xff\xfe", b"{", b"[]", b'{"pid": 3}'):
        (tmp_path / "run.lock").write_bytes(text)
        with RunLock(tmp_path):
            pass


@pytest.mark.parametrize(
    "text", [b"{", b"\0" * 99, b"[" * 4096, b"[]", b'{"pid": 1}', b'{"pid": 1, "host": "\\u001b[2J\\n", "since": "x"}']
)
def test_whatever_a_lock_file_holds_it_can_be_taken(tmp_path, capsys, text):
    (tmp_path / "run.lock").write_bytes(text)
    with RunLock(tmp_path):
        assert all(char.isprintable() or char == "\n" for char in capsys.readouterr().err)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_no_lock(tmp_path, make):
    make(tmp_path / "run.lock")
    with pytest.raises(JaxgptError, match=r"run\.lock: "), RunLock(tmp_path):
        pass
