"""One process per run directory, held by the kernel: a killed run, `kill -9` included, leaves nothing in the way."""

import contextlib
import fcntl
import json
import os
import socket
import stat
import time
import weakref
from pathlib import Path
from types import TracebackType

from jaxgpt.spec import JaxgptError
from jaxgpt.spec.errors import printable
from jaxgpt.terminal import say


class InUseError(JaxgptError):
    """Another process trains in the directory."""


_HELD: "weakref.WeakSet[RunLock]" = weakref.WeakSet()


class RunLock:
    """Holds a run directory while the `with` block lasts; makes the directory when it is missing.

    The lock is `flock` on `run.lock`; the text inside only names the owner. Entering raises InUseError, one line with
    the owner and what to do, when another holder exists, in this process or on any host that shares the file system.
    A run of several processes locks in the first one only.
    """

    def __init__(self, directory: Path):
        self.path = Path(directory) / "run.lock"
        self._handle: int | None = None

    def __enter__(self) -> "RunLock":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        except OSError as error:
            raise JaxgptError(
                f"{self.path}: cannot be opened: {error.strerror}; choose an --out you can write to"
            ) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise JaxgptError(f"{self.path}: no regular file, and so no lock; move it away")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(handle)
            os.close(handle)
            if not isinstance(error, BlockingIOError):
                raise JaxgptError(
                    f"{self.path}: this file system has no file locks ({error.strerror}); choose another --out"
                ) from error
            raise InUseError(
                f"{self.path.parent}: in use by {owner or 'another run'}; wait for it, stop it, or choose another --out"
            ) from None
        self._handle = handle
        _HELD.add(self)
        if left := _owner(handle):
            say(f"{self.path}: left behind by {left}; taken over")
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(facts).encode(), 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        if self._handle is not None:  # else this is a fork
            os.ftruncate(self._handle, 0)  # not deleted: two others could then each lock a file of this name
        self.drop()

    def drop(self) -> None:
        """Closes this process's handle. In a fork the parent's lock stays."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def in_use(directory: Path) -> str:
    """Which other process holds the lock of a run's folder, in words; empty where none does, or nobody can tell."""
    if any(lock.path == Path(directory) / "run.lock" for lock in _HELD if lock._handle is not None):
        return ""
    try:
        handle = os.open(Path(directory) / "run.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(handle) or "another run"
    except OSError:
        return ""
    else:
        return ""
    finally:
        os.close(handle)


def _owner(handle: int) -> str:
    """`process 12 on host (since ...)`, or nothing when no owner is written."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        facts = json.loads(os.pread(handle, 4096, 0))
        pid, host, since = (printable(str(facts[name])[:60]) for name in ("pid", "host", "since"))
        return f"process {pid} on {host} (since {since})"
    return ""


def _drop_all() -> None:
    for lock in list(_HELD):
        lock.drop()


# A forked child, such as a data worker, would otherwise keep the lock of a parent that was killed.
os.register_at_fork(after_in_child=_drop_all)
