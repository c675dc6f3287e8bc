"""Where a sweep stands, from its files alone: no jax is loaded, no spec is built, nothing is written."""

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxgpt.lab import failure
from jaxgpt.lab.claim import CLAIMS, Holder, holders
from jaxgpt.lab.record import DONE, read_json, read_result
from jaxgpt.spec import ConfigError

State = Literal["finished", "diverged", "running", "stopped", "failed", "waiting"]
STATES: tuple[State, ...] = ("finished", "diverged", "running", "stopped", "failed", "waiting")
"""`stopped` has begun and nobody is at work on it: the next worker continues it. `failed` raised."""
_RUN_FOLDER = re.compile(r"s\d+-[0-9a-f]+")
_TAIL = 4096
"""Bytes at the end of a log that hold its last row."""


class RunStatus(NamedTuple):
    """One run of the plan."""

    arm: str
    """With ` (tune)` behind it where the run only tunes the arm."""
    seed: int
    id: str
    path: Path
    """Relative to the sweep's folder."""
    state: State
    step: int
    steps: int
    rate: float | None
    """Steps a second, of a run that is going on."""
    seconds: float | None
    """Spent by a run that is done."""
    failure: failure.Failure | None


@dataclass(frozen=True)
class SweepStatus:
    """Every run of a plan, who is at work, and what was left behind."""

    folder: Path
    name: str
    question: str
    command: str
    """What to type to continue."""
    runs: tuple[RunStatus, ...]
    workers: tuple[Holder, ...]
    """One for each unit that is held, by the living or by the dead: of these only where work is left."""
    orphans: int
    """Run folders that this plan does not name: an earlier plan made them."""

    @cached_property
    def counts(self) -> Counter[State]:
        """Runs in each state."""
        return Counter(run.state for run in self.runs)

    @cached_property
    def arms(self) -> dict[str, Counter[State]]:
        """Runs in each state, arm by arm in the plan's order."""
        found: dict[str, Counter[State]] = {}
        for run in self.runs:
            found.setdefault(run.arm, Counter())[run.state] += 1
        return found

    @cached_property
    def failures(self) -> list[RunStatus]:
        """The runs that failed, newest first."""
        failed = [(run.failure.time, run) for run in self.runs if run.state == "failed" and run.failure]
        return [run for _, run in sorted(failed, key=lambda pair: pair[0], reverse=True)]

    @property
    def classes(self) -> Counter[str]:
        """Failed runs by class of failure."""
        return Counter(run.failure.cls for run in self.failures if run.failure)

    @property
    def running(self) -> list[RunStatus]:
        """The runs that a worker has in hand."""
        return [run for run in self.runs if run.state == "running"]

    @property
    def over(self) -> bool:
        """Whether nothing is left for a worker to do in this call."""
        return not any(self.counts[state] for state in ("running", "stopped", "waiting"))

    @cached_property
    def pace(self) -> float | None:
        """Steps a second of one run, over those that are done."""
        done = [(run.step, run.seconds) for run in self.runs if run.seconds]
        seconds = sum(spent for _, spent in done)
        return sum(step for step, _ in done) / seconds if seconds else None

    @property
    def rate(self) -> float | None:
        """Steps a second of the whole sweep now; a run that has not measured itself yet goes at the usual pace."""
        rates = [run.rate or self.pace for run in self.running]
        known = [rate for rate in rates if rate]
        return sum(known) if known else None

    @property
    def eta(self) -> float | None:
        """Seconds until all that can still end has ended, at the present rate; None while nobody is at work."""
        left = sum(run.steps - run.step for run in self.runs if run.state in ("running", "stopped", "waiting"))
        return left / self.rate if self.rate else None


def read_status(folder: Path) -> SweepStatus:
    """Reads the sweep in `folder`. Raises ConfigError naming the folder or file when there is none or it is torn."""
    path = Path(folder) / "plan.json"
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{folder}: no sweep here: there is no plan.json; run `jaxgpt lab plan EXPERIMENT.py --out DIR` or "
            "`jaxgpt ablate` first"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; make it again with `jaxgpt lab plan`") from None
    found = holders(path.parent / CLAIMS)
    held = {run for worker in found if worker.alive for run in worker.covers}
    runs = tuple(_read_run(path.parent, cell, cell["id"] in held) for cell in plan["cells"])
    unended = {run.id for run in runs if run.state not in DONE}
    workers = tuple(worker for worker in found if worker.alive or unended & set(worker.covers))
    planned = {str(run.path) for run in runs}
    orphans = sum(run not in planned for run in _run_folders(path.parent))
    return SweepStatus(path.parent, plan["name"], plan["question"], plan["command"], runs, workers, orphans)


def _read_run(sweep: Path, cell: dict[str, Any], held: bool) -> RunStatus:
    folder = sweep / cell["path"]
    arm = cell["arm"] + (" (tune)" if cell["stage"] == "tune" else "")
    state: State
    rate, seconds, failed = None, None, None
    result = read_result(folder)  # most runs of a large sweep are done, and need this one file
    if result is not None:
        state, step, seconds = result["status"], result.get("step", cell["steps"]), result.get("seconds")
    else:
        failed = failure.read(folder)
        row = _last_row(folder / "metrics.jsonl")
        step = max(row.get("step", 0), read_json(folder / "status.json").get("step", 0))
        if held:
            state, rate = "running", _rate(row)
        elif failed is not None and failed.cls != "preempted":
            state = "diverged" if failed.cls == "diverged" else "failed"
        else:
            state = "stopped" if folder.exists() else "waiting"
    return RunStatus(
        arm, cell["seed"], cell["id"], Path(cell["path"]), state, step, cell["steps"], rate, seconds, failed
    )


def _last_row(path: Path) -> dict[str, Any]:
    """The last whole row of a log that may be long; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if line.endswith(b"\n") and isinstance(row, dict):
                return row
    return {}


def _rate(row: dict[str, Any]) -> float | None:
    """Steps a second, from a row's tokens a second."""
    speed, tokens = row.get("tokens_per_second"), row.get("tokens")
    return speed * row["step"] / tokens if speed and tokens else None


def _run_folders(root: Path, inside: str = "", depth: int = 3) -> Iterator[str]:
    """Every run folder below `root`, relative to it."""
    with os.scandir(root / inside) as entries:
        for entry in entries:
            path = f"{inside}/{entry.name}" if inside else entry.name
            if _RUN_FOLDER.fullmatch(entry.name) and entry.is_dir():
                yield path
            elif depth > 1 and entry.name != CLAIMS and entry.is_dir():
                yield from _run_folders(root, path, depth - 1)
