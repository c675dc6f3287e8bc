"""What a run's folder says about it. The trainer writes these files; the lab adds failure.json (see failure.py)."""

import json
from pathlib import Path
from typing import Any

from jaxgpt.disk import atomic

DONE = ("finished", "diverged")
"""The states that need no more work. A run that diverged has given its answer."""


def read_result(folder: Path) -> dict[str, Any] | None:
    """The contents of result.json when the run is done, else None."""
    try:
        result = json.loads((folder / "result.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return result if result.get("status") in DONE else None


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl by step. Steps that a continued run did again count once, as they were done last."""
    rows: dict[int, dict[str, Any]] = {}
    path = folder / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the torn last line of a killed run
            continue
        rows[row["step"]] = rows.get(row["step"], {}) | row
    return [rows[step] for step in sorted(rows)]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON mapping, or an empty one where there is no such file."""
    return json.loads(path.read_text()) if path.exists() else {}


def write_text(path: Path, text: str) -> Path:
    """Writes whole or not at all."""
    with atomic(path) as file:
        file.write(text.encode())
    return path
