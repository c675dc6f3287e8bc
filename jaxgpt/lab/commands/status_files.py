"""Where a sweep stands, from its files alone: no jax is loaded, no spec is built, nothing is written."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxgpt.lab.run_files import (
    METRICS,
    damage,
    is_count,
    is_figure,
    is_folder,
    read_json,
    read_mapping,
    read_result,
    read_row,
)
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.claim import CLAIMS, Holder, holders
from jaxgpt.lab.workers.troubles import troubles
from jaxgpt.seal import ENDED
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.small_file import open_at_once

State = Literal["finished", "diverged", "running", "stopped", "failed", "damaged", "waiting"]
STATES: tuple[State, ...] = ("finished", "diverged", "running", "stopped", "failed", "damaged", "waiting")
"""`stopped` has begun and nobody is at work on it: the next worker continues it. `failed` raised. `damaged` has ended,
and its files are not what they were: it waits for somebody to put them back."""
PLAN = "plan.json"
_RUN_FOLDER = re.compile(r"s\d+-[0-9a-f]+")
_TAIL = 4096
"""Bytes at the end of a log that hold its last row."""


class RunStatus(NamedTuple):
    """One run of a sweep's plan, as far as its files tell."""

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
    troubles: tuple[str, ...] = ()
    """A line for each of its files that cannot be read, or is not what it was when the run ended."""


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
        """The number of runs in each state."""
        return Counter(run.state for run in self.runs)

    @cached_property
    def arms(self) -> dict[str, Counter[State]]:
        """Runs in each state, arm by arm in the plan's order."""
        arms: dict[str, Counter[State]] = {}
        for run in self.runs:
            arms.setdefault(run.arm, Counter())[run.state] += 1
        return arms

    @cached_property
    def failures(self) -> list[RunStatus]:
        """The runs that failed, newest first by the clock of the file system: those of the machines do not agree."""
        failed = [run for run in self.runs if run.state == "failed" and run.failure]
        return sorted(failed, key=lambda run: -_written(self.folder / run.path / failure.FILE))

    @property
    def troubles(self) -> list[str]:
        """A line for each file that cannot be believed."""
        return [line for run in self.runs for line in run.troubles]

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
    plan = read_plan(Path(folder))
    folder = Path(folder)
    claimants = holders(folder / CLAIMS)
    claimed = {run for worker in claimants if worker.alive for run in worker.covers}
    runs = tuple(_read_run(folder, cell, cell["id"] in claimed) for cell in plan["cells"])
    unended = {run.id for run in runs if run.state not in ENDED}
    workers = tuple(worker for worker in claimants if worker.alive or unended & set(worker.covers))
    planned = {str(run.path) for run in runs}
    orphans = sum(run not in planned for run in _run_folders(folder))
    return SweepStatus(folder, plan["name"], plan["question"], plan["command"], runs, workers, orphans)


def read_plan(folder: Path) -> dict[str, Any]:
    """What plan.json holds. Raises ConfigError when there is none, or it is not the plan of a sweep."""
    path = folder / PLAN
    if not os.path.lexists(path):
        raise ConfigError(
            f"{folder}: no sweep here: there is no {PLAN}; run `jaxgpt lab plan EXPERIMENT.py --out DIR` or "
            "`jaxgpt ablate` first"
        )
    try:
        plan = read_mapping(path)
    except JaxgptError as error:
        raise ConfigError(f"{error}; make it again with `jaxgpt lab plan`") from None
    texts, cells = [plan.get(name) for name in ("name", "question", "command")], plan.get("cells")
    if not (all(isinstance(text, str) for text in texts) and isinstance(cells, list) and all(map(_is_cell, cells))):
        raise ConfigError(f"{path}: not the plan of a sweep; make it again with `jaxgpt lab plan`")
    return plan


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict):
        return False
    texts = all(isinstance(cell.get(name), str) for name in ("arm", "id", "path", "stage"))
    path = Path(cell["path"]) if texts and cell["path"].isprintable() else None
    inside = path is not None and not path.is_absolute() and ".." not in path.parts
    return inside and is_count(cell.get("seed")) and is_count(cell.get("steps"))


def _read_run(sweep: Path, cell: dict[str, Any], claimed: bool) -> RunStatus:
    folder = sweep / cell["path"]
    arm = cell["arm"] + (" (tune)" if cell["stage"] == "tune" else "")
    state: State
    rate, seconds, failed, wrong = None, None, None, []
    result = read_result(folder)  # most runs of a large sweep are done, and need no more
    if result is not None:
        state, step, seconds = result["status"], result.get("step", cell["steps"]), result.get("seconds")
    else:
        failed = failure.read(folder)
        row = _last_row(folder / METRICS)
        saved = read_json(folder / "status.json").get("step")
        step = min(max(row.get("step", 0), saved if is_count(saved) else 0), cell["steps"])
        wrong = troubles(folder)
        if damage(folder) is not None:
            state, failed = "damaged", None
        elif claimed:
            state, rate = "running", _rate(row)
        elif failed is not None and failed.cls != "preempted":
            state = "diverged" if failed.cls == "diverged" else "failed"
        else:
            state = "stopped" if os.path.lexists(folder) else "waiting"
    path = Path(cell["path"])
    return RunStatus(
        arm, cell["seed"], cell["id"], path, state, step, cell["steps"], rate, seconds, failed, tuple(wrong)
    )


def _last_row(path: Path) -> dict[str, Any]:
    """The last whole row of a log that may be long; empty when there is none, or no log."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return {}
        with open_at_once(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return {}
    rows = (row for line in reversed(lines) if line.endswith(b"\n") and (row := read_row(line)) is not None)
    return next(rows, {})


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _rate(row: dict[str, Any]) -> float | None:
    """Steps a second, from a row's tokens a second."""
    speed, tokens = row.get("tokens_per_second"), row.get("tokens")
    known = is_figure(speed) and is_figure(tokens) and tokens > 0 and speed > 0
    return speed * row["step"] / tokens if known else None


def _run_folders(root: Path, inside: str = "", depth: int = 3) -> Iterator[str]:
    """Every run folder below `root`, relative to it."""
    try:
        with os.scandir(root / inside) as entries:
            folders = [entry.name for entry in entries if entry.name != CLAIMS and is_folder(Path(entry.path))]
    except OSError:  # not ours to look into
        return
    for name in folders:
        path = f"{inside}/{name}" if inside else name
        if _RUN_FOLDER.fullmatch(name):
            yield path
        elif depth > 1:
            yield from _run_folders(root, path, depth - 1)
