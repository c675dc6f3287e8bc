"""The files a run leaves while it trains: two append-only logs with one writer, a status and a result.

metrics.jsonl    a row a measurement, in order of `step`; after a resume, what an uninterrupted run would have
events.jsonl     what happened and when, over all the starts of the run
status.json, result.json    replaced whole
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from jaxgpt.disk import strict, write_json_atomic
from jaxgpt.spec import JaxgptError

METRICS, EVENTS = "metrics.jsonl", "events.jsonl"


class RunDir:
    """Writer of a run's files; hold the directory's `RunLock`.

    `restored` is the step of the checkpoint that the run goes on from; metrics past it are dropped, all of them when it
    is None (a run killed before its first checkpoint starts over). Events stay. A line torn by a kill is cut off.
    To keep every row, write those up to step s and `sync()` before saving the checkpoint of step s.
    """

    def __init__(self, directory: Path, restored: int | None = None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._metrics = _open(self.directory / METRICS, -1 if restored is None else restored)
        self._events = _open(self.directory / EVENTS, None)

    def __enter__(self) -> "RunDir":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        self.sync()
        self._metrics.close()
        self._events.close()

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
        """Replaces status.json: what the run is doing now."""
        write_json_atomic(self.directory / "status.json", {**facts, "time": round(time.time(), 3)})

    def result(self, **figures: Any) -> None:
        """Replaces result.json: the last of each figure."""
        write_json_atomic(self.directory / "result.json", figures)

    def sync(self) -> None:
        """Makes the rows written so far survive a power cut."""
        for file in (self._metrics, self._events):
            os.fsync(file.fileno())


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """All rows of a run, finished or not; a torn last line is left out. Raises JaxgptError naming file and line."""
    return [row for row, _ in _rows(Path(directory) / METRICS)]


def read_result(directory: Path) -> dict[str, Any] | None:
    """The content of result.json, or None where there is none. Raises JaxgptError naming a file that is not JSON."""
    path = Path(directory) / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JaxgptError(f"{path}: cannot be read: {error}; remove it to let the run go on") from None
    return dict(result)


def _open(path: Path, last: int | None) -> BinaryIO:
    """Opens for appending, cut after the last whole row and, when `last` is given, before the first later step."""
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
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise JaxgptError(f"{path}: cannot be read: {error.strerror}; is this the directory of a run?") from None
    rows, end = [], 0
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is None:
            if any(_parse(later) is not None for later in lines[number:]):
                raise JaxgptError(f"{path}:{number}: not a row: {line[:40]!r}; remove the line or put back a copy")
            break
        end += len(line)
        rows.append((row, end))
    return rows


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and line.endswith(b"\n") else None


def _append(file: BinaryIO, row: Any) -> None:
    line = json.dumps(row, allow_nan=False).encode() + b"\n"
    end = file.seek(0, os.SEEK_END)
    try:
        if file.write(line) != len(line):
            raise OSError(None, "no space left on the device")
    except OSError as error:
        file.truncate(end)  # or the next row would continue half a line
        raise JaxgptError(f"{file.name}: cannot be written: {error.strerror}; free space and run again") from error
