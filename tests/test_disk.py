import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgpt.disk import atomic, clear_drafts, resolve, write_json_atomic
from jaxgpt.spec import JaxgptError


def test_a_path_means_the_same_however_it_is_written(tmp_path, monkeypatch):
    home, run = tmp_path / "home", tmp_path / "a b" / "ü[1]"
    home.mkdir()
    run.mkdir(parents=True)
    (tmp_path / "link").symlink_to(run)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    ways = [run, "../a b/ü[1]", "~/../a b/ü[1]", "../link", run / ".." / "." / run.name, os.path.relpath(run)]
    assert {resolve(way) for way in ways} == {run.resolve()}
    assert resolve("~/new") == Path(home).resolve() / "new"


@pytest.mark.parametrize("path", ["a\0b", "~nobody-of-that-name/x", "circle"])
def test_what_cannot_be_a_path_is_one_line(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(JaxgptError, match="not a path") as error:
        resolve(path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["a.json", "x" * 250, "ü" * 120])
def test_what_a_killed_process_had_begun_is_cleared_and_nothing_else(tmp_path, name):
    script = f"""
import os, signal, sys
from pathlib import Path
from jaxgpt.disk import atomic, new_folder
root = Path({str(tmp_path)!r})
with atomic(root / "below" / {name!r}) as file, new_folder(root / {name!r}) as folder:
    (folder / "part").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    left = {path for path in tmp_path.rglob("*.tmp")}
    assert len(left) == 2 and all(path.name.startswith(".") for path in left)
    of_another_host = tmp_path / f".draft-1-{'0' * 16}-elsewhere.tmp"
    of_nobody = tmp_path / ".draft-notes.tmp"
    for path in (of_another_host, of_nobody, tmp_path / "kept.tmp"):
        path.write_text("x")
    with atomic(tmp_path / name) as file:  # of a process that lives
        clear_drafts(tmp_path)
        file.write(b"whole")
    assert (tmp_path / name).read_bytes() == b"whole"
    assert {path.name for path in tmp_path.rglob("*.tmp")} == {of_another_host.name, of_nobody.name, "kept.tmp"}


def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path):
    """The superuser, as whom containers often run, may put a file in place of /dev/null: then it is gone."""
    os.mkfifo(tmp_path / "pipe")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "socket"))
    for name in ("pipe", "socket"):
        kind = stat.S_IFMT(os.lstat(tmp_path / name).st_mode)
        with pytest.raises(JaxgptError, match=f"{name}: is a pipe, and a file would take its place"):
            write_json_atomic(tmp_path / name, {})
        assert stat.S_IFMT(os.lstat(tmp_path / name).st_mode) == kind
    bound.close()
    (tmp_path / "link").symlink_to("pipe")
    write_json_atomic(tmp_path / "link", {})  # the link goes, not what it leads to
    assert (tmp_path / "link").read_text() == "{}\n" and stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "socket"]
