"""Runs a whole sweep, stage by stage, on its engine. Whatever interrupts it, calling it again continues."""

import time
from collections.abc import Mapping
from pathlib import Path

from jaxgpt.lab.commands.status_files import read_status
from jaxgpt.lab.run_files import read_result
from jaxgpt.lab.sweep.folder import Sweep
from jaxgpt.lab.sweep.plan import Plan
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.engines import Crew
from jaxgpt.lab.workers.work import Runner, SweepError, check_metric, work
from jaxgpt.seal import ENDED
from jaxgpt.terminal import Watch, clock, interruptible, say

POLL = 1.0
"""Seconds between two looks at the folder while others work."""


def execute(plan: Plan, folder: Path, runner: Runner | None = None) -> int:
    """Runs every cell of one plan that is not done, in this process, into `folder`.

    Returns how many are left undone. Finished and diverged runs are left untouched; a killed one continues. A bug in
    one run is recorded beside it and the sweep goes on; SweepError once all arms have failed alike in a row. Ctrl-C
    leaves everything resumable, says the command that continues, and raises KeyboardInterrupt.
    """
    for cell in plan.cells:
        if (result := read_result(folder / cell.path)) is not None:
            check_metric(plan.experiment.metric, result, folder / cell.path)
    say(cost_line(plan, folder))
    try:
        left = work(plan, folder, plan.experiment.lab, runner)
    except KeyboardInterrupt:
        ended = sum(read_result(folder / cell.path) is not None for cell in plan.cells)
        say(f"stopped with {ended} of {len(plan.cells)} runs done; to continue: {plan.command}")
        raise
    if left:
        say(f"{left} of {len(plan.cells)} runs are left undone; the same command tries them again: {plan.command}")
    return left


def execute_sweep(sweep: Sweep) -> int:
    """Runs all stages of a sweep whose plan is written: here, or with its engine's workers. Returns how many runs are
    left undone."""
    engine, left = sweep.settings.engine, 0
    if engine.here:
        for number in range(len(sweep.plans())):
            if number and sweep.tuned() is None:
                raise SweepError(
                    f"{sweep.folder}: some tuning runs failed, and the reported runs need what they choose; "
                    f"to try them again: {sweep.command}"
                )
            sweep.write()  # tuning changes what the next stage is
            left = execute(sweep.plans()[number], sweep.folder)
        return left
    say(cost_line(sweep.plans()[-1], sweep.folder))
    before = {run.path: run.failure for run in read_status(sweep.folder).runs}
    with interruptible():
        crew = engine.start(sweep.folder)
        for line in crew.describe():
            say(line)
        try:
            left = _follow(sweep, crew, before)
        except KeyboardInterrupt:
            say(f"stopping the workers; to continue: {sweep.command}")
            raise
        finally:
            crew.stop()  # a requeued job would else wait for its turn to find nothing
    if left:
        say(f"{left} runs are left undone; the same command tries them again: {sweep.command}")
    return left


def _follow(sweep: Sweep, crew: Crew, before: Mapping[Path, failure.Failure | None]) -> int:
    """Watches the folder until nothing is left or nobody works; returns how many runs are left undone.

    `before` are the failures on record when the workers were started, by run: one that is unlike is of this call.
    """
    status = read_status(sweep.folder)
    start = sum(run.step for run in status.runs)
    with Watch(sweep.name, total=sum(run.steps for run in status.runs), unit="steps", start=start) as watch:
        while True:
            alive = crew.alive()
            status = read_status(sweep.folder)
            left = [run for run in status.runs if run.state not in ENDED]
            pending = [run for run in left if run.state != "damaged"]
            failed = [run for run in pending if run.failure is not None and run.failure != before.get(run.path)]
            watch.update(sum(run.step for run in status.runs), workers=str(alive), left=str(len(left)))
            if not pending or (not alive and len(failed) == len(pending)):
                return len(left)
            if not alive:
                raise SweepError(
                    f"{len(left)} of {len(status.runs)} runs are left and no worker is; see "
                    f"{sweep.folder / 'workers'}, then continue: {sweep.command}"
                )
            time.sleep(POLL)


def cost_line(plan: Plan, folder: Path) -> str:
    """What is about to be spent, counting only what is not done yet. Time is an estimate from this plan's own runs."""
    arms, steps = len(plan.experiment.arms), sum(cell.run.steps for cell in plan.cells)
    seeds = len({cell.run.seed for cell in plan.cells})
    tuning = "tuning " if plan.stage == "tune" else ""
    shape = f"{arms} arms × {seeds} seeds" if len(plan.cells) == arms * seeds else f"{arms} arms, {seeds} seeds"
    line = f"{plan.name}: {tuning}{shape} = {len(plan.cells)} runs, {steps:,} steps in all"
    done = {cell: result for cell in plan.cells if (result := read_result(folder / cell.path)) is not None}
    if not done:
        return line
    left = steps - sum(cell.run.steps for cell in done)
    pace = sum(result.get("seconds", 0.0) for result in done.values()) / sum(cell.run.steps for cell in done)
    return f"{line}; {len(done)} done" + (f", about {clock(left * pace)} left" if left and pace else "")
