"""Whether the holder of a claim lives: what its file says, what the kernel says, and how long it has been silent."""

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

_NAME = re.compile(r"(?P<key>.+)\.(?P<generation>\d+)\.json")


class Sheet(NamedTuple):
    """One claim's file as it was read."""

    path: Path
    text: bytes
    facts: dict[str, Any]
    """Empty while its owner has not yet written: it has just been created."""

    @property
    def owner(self) -> str | None:
        """The token that its owner drew."""
        return self.facts.get("owner")


class Sighting(NamedTuple):
    """What this process last saw of a claim, when, and for how many seconds it has seen no change."""

    text: bytes
    at: float
    silent: float


_SEEN: dict[Path, Sighting] = {}


def sheets(folder: Path, only: str | None = None) -> list[tuple[str, int, Sheet]]:
    """Key, generation and content of each claim file. Opens each: on a network file system that asks the server."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or (only is not None and match["key"] != only):
            continue
        try:
            text = (folder / name).read_bytes()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESTALE):  # released since
                continue
            raise
        found.append((match["key"], int(match["generation"]), Sheet(folder / name, text, _parse(text))))
    return found


def generations(folder: Path, key: str) -> dict[int, Sheet]:
    """The claim files of one key, by generation. Raises OSError when one is there and cannot be read."""
    return {at: sheet for _, at, sheet in sheets(folder, key)}


def _parse(text: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        facts = json.loads(text)
        if isinstance(facts, dict) and isinstance(facts.get("owner"), str):
            return facts
    return {}


def dead(sheet: Sheet, stale: float) -> bool:
    """Whether the holder is gone, by what the kernel says or by its silence over all calls of this process so far.

    A holder is silent for its own `stale` seconds, or for `stale` when it died before it wrote anything. Between two
    looks at most a third of that counts: an observer that was stopped itself must not think that all others were.
    """
    if _here(sheet) and _free(sheet.path):
        return True
    patience, now, last = sheet.facts.get("stale", stale), time.monotonic(), _SEEN.get(sheet.path)
    silent = 0.0
    if last is not None and last.text == sheet.text:
        silent = last.silent + min(now - last.at, patience / 3)
    _SEEN[sheet.path] = Sighting(sheet.text, now, silent)
    return silent >= patience


def seems_alive(sheet: Sheet) -> bool:
    """For people: from one look, by the file's time."""
    with contextlib.suppress(OSError):
        recent = time.time() - sheet.path.stat().st_mtime <= sheet.facts["stale"]
        return recent and not (_here(sheet) and _free(sheet.path))
    return False


def _here(sheet: Sheet) -> bool:
    """Whether this machine's kernel knows about the holder's lock."""
    return bool(sheet.facts.get("flock")) and sheet.facts.get("machine") == machine()


def machine() -> str:
    """This machine since it was started. Host names alone repeat: every container may be called the same."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}"


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
        probe = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(probe)
    return True
