"""A save that the disk does not take leaves the earlier ones as they are."""

import contextlib
import gc
import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from checkpoints import assert_bitwise, make_tree, steps
from rarely import rarely

from jaxgpt.runs.checkpoint import arrays, checkpoint
from jaxgpt.runs.checkpoint.checkpoint import restore, save
from jaxgpt.runs.checkpoint.retention import drop
from jaxgpt.spec import JaxgptError


@contextlib.contextmanager
def file_size_limit(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax abandons its other writes
def test_a_write_that_fails_keeps_the_earlier_ones(ckpt):
    with file_size_limit(8192), pytest.raises(JaxgptError, match="step_00000300: the checkpoint could not be written"):
        save(ckpt, 300, make_tree(300), {})
    assert steps(ckpt) == [100, 200]
    assert_bitwise(restore(ckpt, make_tree(0))[1], make_tree(200))
    save(ckpt, 300, make_tree(300), {})
    assert steps(ckpt) == [200, 300]


@pytest.mark.parametrize("when", ["between saves", "within the next save"])
def test_a_write_that_goes_on_after_its_save_has_failed_reaches_no_checkpoint(ckpt, monkeypatch, when):
    """Orbax raises at the first write that fails, and its threads go on with the others."""
    waiting, refused = threading.Event(), []

    def abandoned(directory):
        waiting.wait()
        try:
            (Path(directory) / "ocdbt.process_0").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            refused.append(error)

    class Failing:
        def save(self, directory, args):
            self.thread = threading.Thread(target=abandoned, args=[directory])
            self.thread.start()
            raise OSError(28, "No space left on device")

    failing = Failing()

    def released():
        waiting.set()
        failing.thread.join()

    with monkeypatch.context() as patch:
        patch.setattr(arrays, "_handler", lambda: failing)
        with pytest.raises(JaxgptError, match="No space left on device"):
            save(ckpt, 300, make_tree(300), {})
    assert steps(ckpt) == [100, 200]
    if when == "between saves":
        released()
        assert steps(ckpt) == [100, 200]
    else:
        monkeypatch.setattr(checkpoint, "finish", lambda *args: (released(), arrays.finish(*args)))
    save(ckpt, 300, make_tree(300), {})
    assert steps(ckpt) == [200, 300] and len(refused) == 1
    assert_bitwise(restore(ckpt, make_tree(0))[1], make_tree(300))


def test_a_folder_that_fills_while_it_is_dropped_is_gone_in_the_end(tmp_path, monkeypatch):
    folder, rmtree, late = tmp_path / "draft", shutil.rmtree, iter([True, True, False])

    def emptied(path, ignore_errors):
        rmtree(path, ignore_errors=ignore_errors)
        if next(late):
            (folder / "array").mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", emptied)
    folder.mkdir()
    drop(folder)
    assert not folder.exists()


def test_too_little_space_is_told_before_anything_is_written(ckpt, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(JaxgptError, match="GB needed, 1e-06 GB free"):
        save(ckpt, 300, make_tree(300), {})
    assert steps(ckpt) == [100, 200]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves a coroutine behind
@pytest.mark.parametrize("place", [(os, "fsync"), rarely((os, "replace")), (Path, "rename")])
def test_a_disk_full_at_the_end_keeps_the_earlier_ones(ckpt, monkeypatch, place):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*place, full)
        with pytest.raises(JaxgptError, match="No space left on device"):
            save(ckpt, 300, make_tree(300), {})
    gc.collect()  # here, not in a later test
    assert_bitwise(restore(ckpt, make_tree(0))[1], make_tree(200))


def test_a_save_that_fails_is_one_line(tmp_path):
    """What Orbax's threads find later, they keep to themselves: of a process that ends soon after, a line a save is
    seen."""
    script = f"""
import resource, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from checkpoints import make_tree
from jaxgpt.runs.checkpoint.checkpoint import save
for size in (64, 4096):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        save(Path({str(tmp_path)!r}), size, make_tree(1), {{}})
    except Exception as error:
        print(error, file=sys.stderr)
    time.sleep(0.5)
"""
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, timeout=120)
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and all("could not be written" in line for line in lines), done.stderr
