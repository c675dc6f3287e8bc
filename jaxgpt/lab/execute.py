"""Runs a plan's cells in order. Whatever interrupts it, calling it again continues."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxgpt.lab.plan import Cell, Plan
from jaxgpt.lab.record import read_metrics, read_result, write_failure
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import did_you_mean
from jaxgpt.terminal import Watch, clock, console

Runner = Callable[..., dict[str, Any]]
"""`runner(run, out, quiet=True, watch=callback) -> result`: continues what `out` holds, and returns result.json."""


class Failure(NamedTuple):
    """A run that raised."""

    arm: str
    where: str
    """Type and line of code: what makes two failures alike, whatever path or number their messages hold."""
    message: str


class SweepError(JaxgptError):
    """Every arm fails in the same way, so the rest would too."""


def execute(plan: Plan, out: Path, runner: Runner | None = None) -> None:
    """Runs every cell that is not done, into `plan.folder(out)`.

    Finished and diverged runs are left untouched; a killed one continues. A bug in one run is recorded beside it and
    the sweep goes on; SweepError once all arms have failed alike in a row. Ctrl-C leaves everything resumable, says
    the command that continues, and raises KeyboardInterrupt.
    """
    if runner is None:
        from jaxgpt.train import run

        runner = run
    folder = plan.folder(out)
    done = {cell: result for cell in plan.cells if (result := read_result(folder / cell.path)) is not None}
    for cell, result in done.items():
        check_metric(plan.experiment.metric, result, folder / cell.path)
    waiting = [cell for cell in plan.cells if cell not in done]
    _say(cost_line(plan, out))
    if not waiting:
        return
    failures: list[Failure] = []
    reached = {cell.path: _steps_reached(folder, cell) for cell in plan.cells}
    total = sum(cell.run.steps for cell in plan.cells)
    with Watch(plan.name, total=total, unit="steps", start=sum(reached.values())) as watch:
        try:
            for cell in waiting:
                failure = _run_cell(plan, cell, folder / cell.path, runner, reached, watch)
                failures = [*failures, failure] if failure else []
                _stop_when_hopeless(plan, failures, folder / cell.path / "failure.json")
        except KeyboardInterrupt:
            ended = sum(read_result(folder / cell.path) is not None for cell in plan.cells)
            _say(f"stopped with {ended} of {len(plan.cells)} runs done; to continue: {plan.command}")
            raise
    failed = sum(read_result(folder / cell.path) is None for cell in plan.cells)
    if failed:
        _say(f"{failed} of {len(plan.cells)} runs failed; the same command tries them again: {plan.command}")


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)  # commands are copied from here: brackets and length stay


def cost_line(plan: Plan, out: Path) -> str:
    """What is about to be spent, counting only what is not done yet. Time is an estimate from this plan's own runs."""
    folder = plan.folder(out)
    arms, steps = len(plan.experiment.arms), sum(cell.run.steps for cell in plan.cells)
    line = (
        f"{plan.name}: {arms} arms × {len(plan.cells) // arms} seeds = {len(plan.cells)} runs, {steps:,} steps in all"
    )
    done = {cell: result for cell in plan.cells if (result := read_result(folder / cell.path)) is not None}
    if not done:
        return line
    left = steps - sum(cell.run.steps for cell in done)
    pace = sum(result.get("seconds", 0.0) for result in done.values()) / sum(cell.run.steps for cell in done)
    return f"{line}; {len(done)} done" + (f", about {clock(left * pace)} left" if left and pace else "")


def check_metric(metric: str, result: dict[str, Any], folder: Path) -> None:
    """Raises ConfigError when a finished run has no such figure, so that the first run tells, not the last."""
    if result["status"] == "finished" and not isinstance(result.get(metric), int | float):
        figures = [name for name, held in result.items() if isinstance(held, int | float)]
        raise ConfigError(
            f"metric: {metric!r} is not a figure of {folder / 'result.json'}{did_you_mean(metric, figures)}"
        )


def _run_cell(
    plan: Plan, cell: Cell, folder: Path, runner: Runner, reached: dict[Path, int], watch: Watch
) -> Failure | None:
    """Runs one cell. Returns its failure, or None when it came to an end."""
    position = f"{plan.cells.index(cell) + 1}/{len(plan.cells)}"
    shown: dict[str, str] = {}

    def on_row(row: dict[str, Any]) -> None:
        reached[cell.path] = row["step"]
        shown.update({name: f"{row[name]:.4f}" for name in ("train/loss", "val/loss") if row.get(name) is not None})
        watch.update(sum(reached.values()), run=position, arm=cell.arm, seed=str(cell.run.seed), **shown)

    try:
        result = runner(cell.run, folder, quiet=True, watch=on_row)
    except Exception as error:
        write_failure(folder, error)
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        _say(f"{cell.path}: {message}")
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Failure(cell.arm, f"{type(error).__name__} {last.filename}:{last.lineno}", message)
    if result["status"] == "stopped":  # the trainer took the signal itself, and saved
        raise KeyboardInterrupt
    (folder / "failure.json").unlink(missing_ok=True)
    reached[cell.path] = cell.run.steps
    check_metric(plan.experiment.metric, result, folder)
    return None


def _stop_when_hopeless(plan: Plan, failures: list[Failure], record: Path) -> None:
    """Raises SweepError when the last failures in a row are alike and touch every arm."""
    alike = {failure.arm for failure in failures if failure.where == failures[-1].where}
    if alike == set(plan.experiment.arms):
        message = failures[-1].message
        raise SweepError(f"every arm fails in the same way: {message}; see {record}, then run: {plan.command}")


def _steps_reached(folder: Path, cell: Cell) -> int:
    if read_result(folder / cell.path) is not None:
        return cell.run.steps
    rows = read_metrics(folder / cell.path)
    return rows[-1]["step"] if rows else 0
