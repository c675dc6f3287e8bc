"""The files a run leaves while it trains: two append-only logs with one writer, a status and a result.

metrics.jsonl    a row a measurement, in order of `step`; after a resume, what an uninterrupted run would have
events.jsonl     what happened and when, over all the starts of the run
status.json, result.json    replaced whole
seal.json        written last of all, once the run has ended: vouches for its result, metrics and config
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from jaxgpt.disk import strict, write_json_atomic
from jaxgpt.seal import ENDED, RESULT, seal, unseal
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import read_small_bytes

METRICS, EVENTS = "metrics.jsonl", "events.jsonl"
LONGEST = 1 << 32
"""The largest size in bytes of a log that is read."""


class RunDir:
    """Writer of a run's files; hold the directory's `RunLock`. Opening it breaks the seal: the run goes on.

    `restored` is the step of the checkpoint that the run goes on from; metrics past it are dropped, all of them when it
    is None (a run killed before its first checkpoint starts over). Events stay. A line torn by a kill is cut off.
    To keep every row, write those up to step s and `sync()` before saving the checkpoint of step s.
    """

    def __init__(self, directory: Path, restored: int | None = None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        unseal(self.directory)
        self._metrics = _open(self.directory / METRICS, -1 if restored is None else restored)
        try:
            self._events = _open(self.directory / EVENTS, None)
        except JaxgptError:
            self._metrics.close()
            raise
        self._facts: dict[str, Any] = {}

    def __enter__(self) -> "RunDir":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        """An error on the way out is a failed run: status and events say so, and why, as far as the disk still takes
        it."""
        if value is not None:
            why = next(iter(str(value).splitlines()), "") or type(value).__name__
            with suppress(JaxgptError, OSError):
                self.event("failed", why=why)
            with suppress(JaxgptError, OSError):
                self.status(status="failed", why=why)
        for file in (self._metrics, self._events):
            with suppress(OSError) if value is not None else nullcontext():
                os.fsync(file.fileno())
            file.close()

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Appends a row with its `step`. NaN and infinity become null, and an event names them."""
        clean, lost = strict(row)
        _append(self._metrics, clean)
        if lost:
            self.event("non_finite", step=clean["step"], keys=lost)

    def event(self, name: str, **facts: Any) -> None:
        """Appends what happened, with the time in seconds since 1970."""
        _append(self._events, strict({"time": round(time.time(), 3), "event": name, **facts})[0])

    def status(self, **facts: Any) -> None:
        """Replaces status.json: what the run is doing now. Facts that are not given again stay."""
        self._facts |= facts
        write_json_atomic(self.directory / "status.json", {**self._facts, "time": round(time.time(), 3)})

    def result(self, **figures: Any) -> None:
        """Replaces result.json: the last of each figure. The seal of a run that has ended comes last of all."""
        write_json_atomic(self.directory / RESULT, figures)
        if figures.get("status") in ENDED:
            self.sync()
            seal(self.directory)

    def sync(self) -> None:
        """Makes the rows written so far survive a power cut."""
        for file in (self._metrics, self._events):
            os.fsync(file.fileno())


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """All rows of a run, finished or not; a torn last line is left out. Raises JaxgptError naming file and line."""
    return [row for row, _ in _rows(Path(directory) / METRICS)]


def check_logs(directory: Path) -> None:
    """Raises the error that `RunDir` would, without opening anything to write."""
    for name in (METRICS, EVENTS):
        if os.path.lexists(directory / name):
            _rows(directory / name)


def _open(path: Path, last: int | None) -> BinaryIO:
    """Opens for appending, cut after the last whole row and, when `last` is given, before the first later step."""
    if not os.path.lexists(path):
        path.touch()
    end = 0
    for row, offset in _rows(path):
        if last is not None and row.get("step", last) > last:
            break
        end = offset
    file = open(path, "ab", buffering=0)  # noqa: SIM115  unbuffered: a row is one write, and visible at once
    file.truncate(end)
    return file


def _rows(path: Path) -> list[tuple[dict[str, Any], int]]:
    """Each row with the offset of its end in bytes."""
    try:
        lines = read_small_bytes(path, LONGEST).splitlines(keepends=True)
    except ConfigError as error:
        raise JaxgptError(f"{error}; is this the directory of a run?") from None
    rows, end = [], 0
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is None:
            if any(_parse(later) is not None for later in lines[number:]):
                raise JaxgptError(f"{path}:{number}: not a row: {quote(line, 44)}; remove the line or put back a copy")
            break
        end += len(line)
        rows.append((row, end))
    return rows


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and isinstance(row.get("step", 0), int) and line.endswith(b"\n")
    return row if whole else None


def _append(file: BinaryIO, row: Any) -> None:
    line = json.dumps(row, allow_nan=False).encode() + b"\n"
    end = file.seek(0, os.SEEK_END)
    try:
        if file.write(line) != len(line):
            raise OSError(None, "no space left on the device")
    except OSError as error:
        file.truncate(end)  # or the next row would continue half a line
        raise JaxgptError(f"{file.name}: cannot be written: {error.strerror}; free space and run again") from error
