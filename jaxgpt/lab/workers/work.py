"""A worker: claims one unit after another, does it, and leaves when nothing is left that it could do.

Any number of workers, on any machines that see the folder, do a sweep together. None is special and none is needed:
what one leaves undone, killed or not, another takes over.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxgpt.lab.question.settings import Lab
from jaxgpt.lab.run_files import damage, is_closed, read_metrics, read_result
from jaxgpt.lab.sweep.grouping import Mode, Unit, decide, halved, read_mode, too_large, units
from jaxgpt.lab.sweep.plan import Cell, Plan
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.claim import CLAIMS, Claim, take
from jaxgpt.lab.workers.engines import FAILED, LOST
from jaxgpt.lab.workers.tries import Tries
from jaxgpt.seal import is_sealed
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import did_you_mean
from jaxgpt.terminal import Watch, say

Runner = Callable[..., dict[str, Any]]
"""`runner(run, out, quiet=True, watch=callback) -> result`: continues what `out` holds, and returns result.json."""
SOLO = Mode(False, 1, "given")
PREEMPTED = 3
"""How often a run that something outside ended is tried before it waits for the next call."""
IN_USE = 10
"""For how many times `claim_seconds` a run is waited for that another process trains without a claim."""


class SweepError(JaxgptError):
    """Every arm fails in the same way, so the rest would too."""

    exit_status = FAILED


def work(plan: Plan, folder: Path, settings: Lab, runner: Runner | None = None) -> int:
    """Does what nobody else does of `plan`, in `folder`, until all of it has come to an end.

    Returns how many runs are left undone: they failed, here or with another, or their own files are damaged. Finished
    and diverged runs are left untouched; a killed one continues. A failure is recorded beside its run and the sweep
    goes on; SweepError once all arms have failed alike in a row. Raises KeyboardInterrupt when a signal stopped it,
    with everything saved.
    """
    mode = SOLO
    if runner is None and not all(is_closed(folder / cell.path) for cell in plan.cells):
        mode = _choose_mode(plan, folder, settings)
    for line in filter(None, (damage(folder / cell.path) for cell in plan.cells)):
        say(line)
    reached = {cell.path: _steps_reached(folder, cell) for cell in plan.cells}
    total = sum(cell.run.steps for cell in plan.cells)
    row: list[tuple[str, str]] = []
    with Watch(plan.name, total=total, unit="steps", start=sum(reached.values())) as watch:
        call = _Call(plan, folder, settings, mode, runner, Tries(plan, folder), reached, watch)
        whole = units(plan, mode)
        while waiting := [
            u for whole_unit in whole for u in halved(whole_unit, folder) if _pending(u, folder, call.tries)
        ]:
            idle = True
            for unit in waiting:
                claim = take(folder / CLAIMS, unit.key, settings.claim_seconds, [c.id for c in unit.cells], _stand_down)
                if claim is None:
                    continue
                with claim:
                    # Else the last holder ended it while we asked, or found it too large for memory.
                    if _pending(unit, folder, call.tries) and len(halved(unit, folder)) == 1:
                        try:
                            failed = _do(unit, call, claim)
                        except _InUse:
                            continue
                        idle = False
                        row = _tried(row, unit, failed)
                        _stop_when_hopeless(plan, row, failed, folder / unit.cells[0].path / failure.FILE)
            if idle:
                time.sleep(min(2.0, settings.claim_seconds / 6))
                reached |= {cell.path: _steps_reached(folder, cell) for cell in plan.cells}
                watch.update(sum(reached.values()), waiting=f"for {len(waiting)} units of others")
    return sum(read_result(folder / cell.path) is None for cell in plan.cells)


@dataclass
class _Call:
    """What stays the same while one worker does a plan."""

    plan: Plan
    folder: Path
    settings: Lab
    mode: Mode
    runner: Runner | None
    tries: Tries
    reached: dict[Path, int]
    """Steps of each run so far."""
    watch: Watch
    busy: dict[str, float] = field(default_factory=dict)
    """Since when a unit's folder has been in use by one whose claim is lost, by the monotonic clock."""


class _InUse(Exception):
    """Who had the unit before trains on: it has not noticed yet that its claim is lost."""


def check_metric(metric: str, result: dict[str, Any], folder: Path) -> None:
    """Raises ConfigError when a finished run has no such figure, so that the first run tells, not the last.

    One that is null was not finite: the run has the figure, and no mean has the run.
    """
    if result["status"] == "finished" and not isinstance(result.get(metric, ""), int | float | None):
        figures = [name for name, value in result.items() if isinstance(value, int | float)]
        raise ConfigError(
            f"metric: {metric!r} is not a figure of {folder / 'result.json'}{did_you_mean(metric, figures)}"
        )


def _choose_mode(plan: Plan, folder: Path, settings: Lab) -> Mode:
    """One worker decides on the mode, the others wait for it."""
    while True:
        if read_mode(folder) is not None:
            return decide(plan, folder, settings)
        claim = take(folder / CLAIMS, "fuse", settings.claim_seconds)
        if claim is not None:
            with claim:
                return decide(plan, folder, settings)
        time.sleep(0.5)


def _pending(unit: Unit, folder: Path, tries: Tries) -> bool:
    """Whether some run has neither ended nor failed for good in this call."""
    for cell in unit.cells:
        if is_closed(folder / cell.path):
            continue
        failed = tries.failed_since(cell)
        if failed is None:
            return True
        if failed.cls == "preempted" and failed.attempts < PREEMPTED:
            return True
        if failed.cls == "oom" and not too_large(unit, failed):
            return True
    return False


def _do(unit: Unit, call: _Call, claim: Claim) -> failure.Failure | None:
    """Runs a unit. Returns its failure, or None when it came to an end."""
    folder, shown = call.folder, dict[str, str]()
    arms = "+".join(dict.fromkeys(cell.arm for cell in unit.cells))
    seeds = ",".join(dict.fromkeys(str(cell.run.seed) for cell in unit.cells))

    def on_row(cell: Cell, row: dict[str, Any]) -> None:
        if claim.lost or is_sealed(folder / cell.path):  # sealed: another has done it meanwhile
            _stand_down()
        call.reached[cell.path] = row["step"]
        shown.update({name: f"{row[name]:.4f}" for name in ("train/loss", "val/loss") if row.get(name) is not None})
        call.watch.update(sum(call.reached.values()), arm=arms, seed=seeds, **shown)

    try:
        results = _run(unit, folder, call.mode, call.runner, on_row)
    except Exception as error:
        late = time.monotonic() - call.busy.setdefault(unit.key, time.monotonic())
        if failure.in_use(error) and late < IN_USE * call.settings.claim_seconds:
            raise _InUse from None
        return _record(unit.cells, unit, folder, error, call.tries)
    if any(result["status"] == "stopped" for result in results):  # the trainer took the signal itself, and saved
        raise KeyboardInterrupt
    last = None
    for cell, result in zip(unit.cells, results, strict=True):
        if result["status"] == "damaged":
            if damage(folder / cell.path) is None:  # it has not ended: its files say what they cannot
                last = _record([cell], unit, folder, JaxgptError(result["error"]), call.tries)
            continue
        with contextlib.suppress(OSError):  # whatever stands there, the run is done
            (folder / cell.path / failure.FILE).unlink(missing_ok=True)
        call.reached[cell.path] = cell.run.steps
        check_metric(call.plan.experiment.metric, result, folder / cell.path)
    return last


def _run(
    unit: Unit, folder: Path, mode: Mode, runner: Runner | None, on_row: Callable[[Cell, dict[str, Any]], None]
) -> list[dict[str, Any]]:
    if mode.fused:
        from jaxgpt.train.fused.loop import run_fused

        outs = [folder / cell.path for cell in unit.cells]
        on_lane: Callable[[int, dict[str, Any]], None] = lambda i, row: on_row(unit.cells[i], row)  # noqa: E731
        return run_fused([cell.run for cell in unit.cells], outs, quiet=True, watch=on_lane)
    (cell,) = unit.cells
    runner = runner or type(cell.run).train
    return [runner(cell.run, folder / cell.path, quiet=True, watch=lambda row: on_row(cell, row))]


def _record(cells: Sequence[Cell], unit: Unit, folder: Path, error: Exception, tries: Tries) -> failure.Failure | None:
    """Writes the failure beside each of the cells that has not ended; None: all have."""
    cls, last = failure.classify(error), None
    for cell in cells:
        if is_closed(folder / cell.path):
            continue
        last = tries.record(cell, error, cls)
    if last is None:
        if all(damage(folder / cell.path) is None for cell in cells):
            raise error
        return None
    advice = "; set exec.remat=block or a larger exec.accumulate" if cls == "oom" and len(unit.cells) == 1 else ""
    say(f"{cells[0].path}: {last.line}{advice}")
    return last


def _tried(row: list[tuple[str, str]], unit: Unit, failed: failure.Failure | None) -> list[tuple[str, str]]:
    """The failures in a row so far, as (arm, where)."""
    if failed is None:
        return []
    if failed.cls == "oom" and len(unit.cells) > 1:
        return row  # it is tried again in halves
    return [*row, *((arm, failed.where) for arm in dict.fromkeys(cell.arm for cell in unit.cells))]


def _stop_when_hopeless(plan: Plan, row: list[tuple[str, str]], failed: failure.Failure | None, file: Path) -> None:
    if failure.same_in_every_arm(row, plan.experiment.arms):
        message = failed.line if failed else row[-1][1]
        raise SweepError(f"every arm fails in the same way: {message}; see {file}, then run: {plan.command}")


def _stand_down() -> None:
    """Another worker took over what we were silent about: not one more byte may be written."""
    say("this worker was silent for too long, or its claim was removed, and another has its run; it stops")
    os._exit(LOST)


def _steps_reached(folder: Path, cell: Cell) -> int:
    if read_result(folder / cell.path) is not None:
        return cell.run.steps
    rows = read_metrics(folder / cell.path)
    return rows[-1]["step"] if rows else 0
