"""What a run's folder says about it. The trainer writes these files; the lab adds failure.json (see failure.py).

Any of them may be torn, or a stranger's. That run is then named with its file, and no other suffers: a run that has
ended and is not as it was then is `damaged`, left out of every figure and left as it is.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, TypeGuard

from jaxgpt import disk, seal
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import read_small_bytes

METRICS = "metrics.jsonl"
LARGE = 1 << 28
"""Bytes that a plan or a log may have: the plan of a thousand runs has a third of a million."""
LIMIT = 1e300
"""No figure of ours is as large; sums of such would overflow."""


def read_result(folder: Path) -> dict[str, Any] | None:
    """The content of result.json of a run that has ended and is as it was then, else None."""
    return _ended(folder)[0]


def damage(folder: Path) -> str | None:
    """One line naming the file for which a run that has ended is not believed; None: nothing is wrong with it."""
    return _ended(folder)[1]


def is_closed(folder: Path) -> bool:
    """Whether no worker has anything to do there: the run has ended, believed or not."""
    return any(part is not None for part in _ended(folder))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl by step. Steps that a continued run did again count once, as they were done last.

    What is no row is passed over: the torn last line of a killed run, and all of a log that cannot be read.
    """
    try:
        lines = read_small_bytes(folder / METRICS, LARGE).splitlines()
    except ConfigError:
        return []
    rows: dict[int, dict[str, Any]] = {}
    for line in lines:
        if (row := read_row(line)) is not None:
            rows[row["step"]] = rows.get(row["step"], {}) | row
    return [rows[step] for step in sorted(rows)]


def read_row(line: bytes) -> dict[str, Any] | None:
    """A row of a log of metrics; None: it is torn, or no row."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and is_count(row.get("step")) else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON mapping; an empty one where there is no such file, or `troubles` has something to say about it."""
    try:
        return read_mapping(path)
    except ConfigError:
        return {}


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON mapping. Raises ConfigError, one line, where there is none to read."""
    content = disk.read_json(path, LARGE)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping, found {type(content).__name__}")
    return content


def is_figure(value: Any) -> TypeGuard[float]:
    """Whether it is a number that can be added up: finite, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LIMIT < value < LIMIT


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number of steps, tokens or tries."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False as well for what cannot be looked at."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def write_text(path: Path, text: str) -> Path:
    """Writes whole or not at all."""
    with disk.atomic(path) as file:
        file.write(text.encode())
    return path


def _ended(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """The result of a run that has ended, or why it is not believed; neither of one that has not."""
    try:
        result = seal.read_result(folder)
    except JaxgptError as error:
        return None, str(error)
    checks = {"step": is_count, "tokens": is_count, "seconds": is_figure, "mode": lambda value: isinstance(value, str)}
    for name, check in checks.items() if result is not None else ():
        if result is not None and name in result and not check(result[name]):
            return None, f"{folder / seal.RESULT}: {name}: no run ends with {quote(result[name])}"
    return result, None
