"""A run that has ended, vouched for. `seal.json` holds SHA-256 and size of its result, metrics and config.

It is written last of all, and removed before a run goes on. So a run without it has not ended: killed before the seal
was written, it goes on from its last checkpoint, which is its end, and writes the same result again.
"""

import hashlib
import os
import stat
import time
from pathlib import Path
from typing import Any, NamedTuple

from jaxgpt.disk import read_json, write_json_atomic
from jaxgpt.spec import JaxgptError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import open_at_once

SEAL, RESULT = "seal.json", "result.json"
SEALED = (RESULT, "metrics.jsonl", "config.yaml")
"""The files that a seal vouches for."""
ENDED = ("finished", "diverged")
"""The states that need no more work. A run that diverged has given its answer."""
_REMEDY = "put back a copy, or move the run's folder away to have the run done again"
_RECENT = 2 * 10**9
"""Nanoseconds after which a change of a file surely changes its time as well."""


class ChangedError(JaxgptError):
    """A file of a run that has ended is not what it was at the end."""


class _Stamp(NamedTuple):
    inode: int
    size: int
    modified: int
    changed: int


_VERIFIED: dict[Path, tuple[tuple[_Stamp | None, ...], dict[str, Any]]] = {}
"""Results whose files were hashed by this process, so that who asks again and again reads each file once."""


def seal(folder: Path) -> None:
    """Vouches for the files of a run that has ended, as they are now. Sync them before; write nothing to them after."""
    write_json_atomic(folder / SEAL, {"files": {name: _fingerprint(folder / name) for name in SEALED}})


def unseal(folder: Path) -> None:
    """Says that the run goes on: to be called before any of its files changes."""
    try:
        (folder / SEAL).unlink(missing_ok=True)
    except OSError as error:
        raise JaxgptError(f"{folder / SEAL}: cannot be removed: {error.strerror}; move it away") from None


def is_sealed(folder: Path) -> bool:
    """Whether the run has ended, its files true or not."""
    return os.path.lexists(folder / SEAL) and os.path.lexists(folder / RESULT)


def read_result(folder: Path) -> dict[str, Any] | None:
    """The content of result.json of a run that has ended, None of one that has not.

    Raises ChangedError naming the file when one that the seal vouches for is not as it was, or the seal is unreadable.
    """
    folder = Path(folder)
    if not is_sealed(folder):
        return None
    stamps = tuple(_stamp(folder / name) for name in (SEAL, *SEALED))
    known = _VERIFIED.get(folder)
    if known is not None and known[0] == stamps:
        return dict(known[1])
    try:
        content = read_json(folder / SEAL)
    except JaxgptError as error:
        if not is_sealed(folder):  # it goes on since
            return None
        raise ChangedError(f"{error}; {_REMEDY}") from None
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or set(files) != set(SEALED):
        raise ChangedError(f"{folder / SEAL}: not the seal of a run that has ended; {_REMEDY}")
    for name, want in files.items():
        if (now := _fingerprint(folder / name, want)) != want:
            if not is_sealed(folder):
                return None
            raise ChangedError(f"{folder / name}: {_difference(now, want)}; {_REMEDY}")
    result = _result(folder / RESULT)
    if all(stamp is None or time.time_ns() - max(stamp.modified, stamp.changed) > _RECENT for stamp in stamps):
        _VERIFIED[folder] = stamps, result
    return dict(result)


def _result(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except JaxgptError as error:
        raise ChangedError(f"{error}; {_REMEDY}") from None
    if not isinstance(content, dict) or content.get("status") not in ENDED:
        raise ChangedError(f"{path}: not the result of a run that has ended; {_REMEDY}")
    return content


def _fingerprint(path: Path, want: Any = None) -> dict[str, Any] | None:
    """SHA-256 and bytes of a file; None where there is none, or what is there is no regular file. One that cannot be
    what is wanted, by its size, is not read."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        if isinstance(want, dict) and want.get("bytes") != status.st_size:
            return {"bytes": status.st_size}
        with open_at_once(path) as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}
    except OSError:
        return None


def _difference(now: dict[str, Any] | None, want: Any) -> str:
    if now is None:
        return "gone since the run ended"
    if not isinstance(want, dict):
        return f"came after the run had ended (its seal says {quote(want)})"
    size = want.get("bytes")
    length = f"{now['bytes']:,} bytes, {quote(size)} then" if now["bytes"] != size else "another SHA-256"
    return f"changed since the run ended ({length})"


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return _Stamp(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
