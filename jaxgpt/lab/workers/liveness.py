"""Whether the holder of a claim lives: what its file says, what the kernel says, and how long it has been silent."""

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import stat
import time
from pathlib import Path
from typing import Any, NamedTuple

from jaxgpt.lab.run_files import is_count, is_figure
from jaxgpt.spec.small_file import open_at_once

LONGER = 10
"""How much more patience another's claim may ask for: one that is not ours may ask for any."""
_LONGEST = 1 << 20
"""Bytes of a claim that are read; the claim of a group of thousands of runs has a tenth."""
_PATIENT = 3600.0
"""Seconds for which a silent holder is said to be alive at most, whatever its claim asks for."""
_NAME = re.compile(r"(?P<key>.+)\.(?P<generation>\d{1,18})\.json")


class ClaimFile(NamedTuple):
    """One claim's file as it was read."""

    path: Path
    text: bytes
    facts: dict[str, Any]
    """Empty while its owner has not yet written: it has just been created."""

    @property
    def owner(self) -> str | None:
        """The token that its owner drew."""
        return self.facts.get("owner")


class LastSeen(NamedTuple):
    """What this process last saw of a claim, when, and for how many seconds it has seen no change."""

    text: bytes
    at: float
    silent: float
    moved: bool
    """Whether it has ever seen a change: then the holder lived while we looked."""


_SEEN: dict[Path, LastSeen] = {}


def read_claims(folder: Path, only: str | None = None) -> list[tuple[str, int, ClaimFile]]:
    """Key, generation and content of each claim file. Opens each: on a network file system that asks the server."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    claims = []
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or (only is not None and match["key"] != only):
            continue
        try:
            text = _read(folder / name)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESTALE):  # released since
                continue
            raise
        claims.append((match["key"], int(match["generation"]), ClaimFile(folder / name, text, _parse(text))))
    return claims


def generations(folder: Path, key: str) -> dict[int, ClaimFile]:
    """The claim files of one key, by generation. Raises OSError when one is there and cannot be read."""
    return {at: file for _, at, file in read_claims(folder, key)}


def _read(path: Path) -> bytes:
    """What is no file, as a pipe or a folder, holds nothing: to be judged by its silence, as a torn file is."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open_at_once(path) as file:
            return file.read(_LONGEST)
    except OSError as error:
        if error.errno == errno.ELOOP or (error.errno == errno.ENOENT and path.is_symlink()):
            return b""
        raise


def _parse(text: bytes) -> dict[str, Any]:
    """The facts of a claim; none of a torn one."""
    with contextlib.suppress(ValueError, RecursionError):
        facts = json.loads(text)
        if isinstance(facts, dict) and all(check(facts.get(name)) for name, check in _FACTS.items()):
            return facts
    return {}


def _seconds(value: Any) -> bool:
    return is_figure(value) and value >= 0


_FACTS = {
    "owner": lambda value: isinstance(value, str),
    "host": lambda value: isinstance(value, str),
    "pid": is_count,
    "since": _seconds,
    "stale": _seconds,
    "covers": lambda value: isinstance(value, list) and all(isinstance(run, str) for run in value),
}
"""What a claim says, and of which kind it is."""


def dead(file: ClaimFile, stale: float) -> bool:
    """Whether the holder is gone, by what the kernel says or by its silence over all calls of this process so far.

    A holder is silent for its own `stale` seconds, but no more than `LONGER` times ours; for ours when it died before
    it wrote anything. Between two looks at most a third of that counts: an observer that was stopped itself must not
    think that all others were.
    """
    if _here(file) and _free(file.path):
        return True
    patience = min(file.facts.get("stale", stale), LONGER * stale)
    now, last = time.monotonic(), _SEEN.get(file.path)
    silent, moved = 0.0, last is not None
    if last is not None and last.text == file.text:
        silent, moved = last.silent + min(now - last.at, patience / 3), last.moved
    _SEEN[file.path] = LastSeen(file.text, now, silent, moved)
    return silent >= patience


def seems_alive(file: ClaimFile) -> bool:
    """Whether the holder seems to live, for people to read. The first look goes by the file's time, which is wrong
    where clocks are; later ones by whether the heartbeat moved while this process looked."""
    stale = min(file.facts.get("stale", 0.0), _PATIENT)
    if dead(file, stale):
        return False
    with contextlib.suppress(OSError):
        return _SEEN[file.path].moved or time.time() - file.path.stat().st_mtime <= stale
    return False


def _here(file: ClaimFile) -> bool:
    """Whether this machine's kernel knows about the holder's lock."""
    return bool(file.facts.get("flock")) and file.facts.get("machine") == machine()


def machine() -> str:
    """This machine since it was started. Host names alone repeat: every container may be called the same."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text(encoding='utf-8').strip() if boot.exists() else ''}"


def lock(handle: int, path: Path) -> bool:
    """Whether the kernel vouches for us from now on. A lock that keeps nobody out is none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # this file system has none; the heartbeat will do
        return False
    return not _free(path)


def _free(path: Path) -> bool:
    """Whether nobody holds the file's lock. Asks for a shared one, so that those who ask at once do not disturb."""
    try:
        probe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(probe)
    return True
