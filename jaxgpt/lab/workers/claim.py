"""Who does which unit of a sweep: N identical workers, on any number of machines, race for it and one gets it.

A claim on unit `key` is a file `key.<generation>.json`, created exclusively. Generation 0 is taken first; the next one
may be created only by who has judged every earlier one dead, so of all that saw the same dead claim one wins. Dead is

- at once: a holder on this machine whose `flock` on its file is free, for the kernel drops it with the process;
- after `stale` seconds: a holder whose heartbeat did not move meanwhile, by the observer's own monotonic clock. The
  clocks of two machines are never compared, and a pause in looking (the file system was away) counts little.

A holder whose file was removed makes it again at its next heartbeat, unless it is late or another has the unit.

The second judgement may be wrong: the holder was stopped, or cut off. So each holder looks for a higher generation at
every heartbeat, and is `lost` when it finds one; it must then stop without writing.

Right after creating its file a taker lists the generations again and withdraws unless every other file is one that it
has judged dead. Of two takers one lists after both have created, so never do both stay.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from jaxgpt.lab.workers.liveness import ClaimFile, dead, generations, lock, machine, read_claims, seems_alive
from jaxgpt.spec import JaxgptError

CLAIMS = "claims"
"""The folder of claims, in a sweep's folder."""
BEATS = 6
"""Heartbeats in `stale` seconds."""
_HELD: "weakref.WeakSet[Claim]" = weakref.WeakSet()


def now() -> float:
    """Seconds by a clock that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Holder(NamedTuple):
    """Who holds a unit, for people to read."""

    key: str
    covers: tuple[str, ...]
    """Ids of the runs that are done under it."""
    host: str
    pid: int
    since: float
    """Seconds since 1970, by the holder's clock."""
    alive: bool
    """Its process is there and its heartbeat is recent. Across machines this trusts their clocks; `take` does not."""


class Claim:
    """A held unit; `take` makes it. Leaving the `with` block releases it."""

    def __init__(
        self, folder: Path, key: str, generation: int, stale: float, covers: Sequence[str], on_lost: Callable[[], None]
    ):
        self.key, self.generation, self.stale = key, generation, stale
        self.path = folder / f"{key}.{generation}.json"
        self._facts = {
            "owner": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "machine": machine(),
            "pid": os.getpid(),
            "since": round(time.time(), 3),
            "stale": stale,
            "covers": list(covers) or [key],
        }
        self._on_lost = on_lost
        self._handle: int | None = None
        self._inherited = False
        self._guard = threading.Lock()
        self._beats, self._looked, self._lost = 0, now(), False
        self._released = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, name=f"claim {key}", daemon=True)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        self.release()

    @property
    def lost(self) -> bool:
        """Whether another holds the unit now, because we seemed dead: stop, and write nothing more.

        Looks by itself when the heartbeat is late, so that a process that was stopped learns it here first.
        """
        if not self._lost and now() - self._looked > self.stale / 2:
            self._beat()
        return self._lost

    def release(self) -> None:
        """Gives the unit back, and clears away the dead claims below. In a fork the parent keeps it."""
        self._released.set()
        if self._heart.is_alive() and self._heart is not threading.current_thread():
            self._heart.join()
        if self._handle is not None:
            self._remove()
            self.drop()

    def drop(self) -> None:
        """Closes this process's handle."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _create(self, dead: dict[int, ClaimFile], beating: bool = False) -> bool:
        """Whether the unit is ours, given the generations that were judged dead. `beating`: the heart is at work."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        _HELD.add(self)
        try:
            self._facts["flock"] = lock(self._handle, self.path)
            self._write()
            there = generations(self.path.parent, self.key)
        except OSError:
            self.path.unlink(missing_ok=True)
            self.drop()
            raise
        others = [at for at in there if at != self.generation]
        if self._ours(there) and all(at in dead and dead[at].owner == there[at].owner for at in others):
            if not beating:
                self._heart.start()
            return True
        if self._ours(there):
            self.path.unlink(missing_ok=True)
        self.drop()
        return False

    def _restored(self) -> bool:
        """Makes our file again, which somebody removed; whether the unit is still ours.

        Not after a silence that others may have taken for death: they may have done the unit since, and left no file.
        Who takes it now sees our file or shows us his, as when two take it at once, and one withdraws.
        """
        if now() - self._looked > self.stale / 2:
            return False
        self.drop()
        return self._create({}, beating=True)

    def _ours(self, files: dict[int, ClaimFile]) -> bool:
        """Whether the file of our generation is still the one that we made. A torn one still is, and is mended by the
        next heartbeat."""
        if (file := files.get(self.generation)) is None or file.facts:
            return file is not None and file.owner == self._facts["owner"]
        with contextlib.suppress(OSError):
            return self._handle is not None and os.path.samestat(os.fstat(self._handle), os.stat(file.path))
        return False

    def _write(self) -> None:
        text = json.dumps({"beat": self._beats, **self._facts}).ljust(64 + len(json.dumps(self._facts)))
        assert self._handle is not None
        os.pwrite(self._handle, text.encode(), 0)  # always as long as before: a reader never sees half of two
        os.ftruncate(self._handle, len(text.encode()))  # of a torn one

    def _keep_beating(self) -> None:
        while not self._released.wait(self.stale / BEATS) and not self._lost:
            self._beat()

    def _beat(self) -> None:
        """Tells the others that we live, unless one of them holds the unit now."""
        with self._guard:
            if self._lost or self._released.is_set():
                return
            try:
                files = generations(self.path.parent, self.key)
                if not files and (self._inherited or self._restored()):
                    self._looked = now()
                    return
                if self._ours(files) and max(files) == self.generation:
                    self._beats += 1
                    if self._handle is not None:  # else this is a fork
                        self._write()
                    self._looked = now()
                    return
            except OSError:  # the file system is away or full; the next heartbeat tries again
                return
            self._lost = True
        self._on_lost()

    def _remove(self) -> None:
        """The lowest first, so that ours bars the way until nothing is left."""
        try:
            files = generations(self.path.parent, self.key)
        except OSError:
            return
        for at in sorted(files) if self._ours(files) else ():
            if at <= self.generation:
                with contextlib.suppress(OSError):  # what stays behind is dead to the others
                    files[at].path.unlink(missing_ok=True)

    def _forked(self) -> None:
        self.drop()
        self._inherited = True
        self._guard, self._released = threading.Lock(), threading.Event()  # the parent's heartbeat may have held them


def take(
    folder: Path, key: str, stale: float = 60.0, covers: Sequence[str] = (), on_lost: Callable[[], None] = lambda: None
) -> Claim | None:
    """Claims `key` in the folder of claims `folder`; None when another holds it. Never waits.

    Look whether the work is done *after* taking, for the last holder may just have finished. `stale`, in seconds, is
    how long a silent holder on another machine is waited for: ask again and again, at least every `stale / 3`. `covers`
    are the ids of the runs that a group's claim stands for. `on_lost` is called once, in another thread, when the claim
    is lost. Raises JaxgptError when the folder cannot be read or written.
    """
    try:
        before = generations(folder, key)
        verdicts = [dead(file, stale) for file in before.values()]  # a look at each: silence adds up
        if not all(verdicts):
            return None
        claim = Claim(folder, key, max(before, default=-1) + 1, stale, covers, on_lost)
        return claim if claim._create(before) else None
    except OSError as error:
        raise JaxgptError(f"{folder}: cannot be claimed in: {error.strerror}; free space or check its owner") from error


def holders(folder: Path) -> list[Holder]:
    """Who holds what in the folder of claims, oldest first. Raises JaxgptError when the folder cannot be read."""
    highest: dict[str, tuple[int, ClaimFile]] = {}
    try:
        claims = read_claims(folder)
    except OSError as error:
        raise JaxgptError(f"{folder}: cannot be read: {error.strerror}; it should be a folder of claims") from error
    for key, at, file in claims:
        if at >= highest.get(key, (0, file))[0]:
            highest[key] = (at, file)
    listed = [
        Holder(key, tuple(facts["covers"]), facts["host"], facts["pid"], facts["since"], seems_alive(file))
        for key, (_, file) in highest.items()
        if (facts := file.facts)
    ]
    return sorted(listed, key=lambda holder: (holder.since, holder.key))


def _let_go() -> None:
    for claim in list(_HELD):
        claim._forked()


# A forked child, such as a data worker, would otherwise keep the lock of a holder that was killed.
os.register_at_fork(after_in_child=_let_go)
