"""`jaxgpt lab plan`: what a sweep is and what it takes, before it starts; and how many seeds a question needs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from jaxgpt.lab.analysis.findings import Findings, analyse_sweep
from jaxgpt.lab.commands.ablate import open_sweep
from jaxgpt.lab.number_format import number, unit
from jaxgpt.lab.run_files import read_result
from jaxgpt.lab.statistics.power import pairs_needed
from jaxgpt.lab.sweep.folder import Sweep
from jaxgpt.lab.sweep.plan import Cell, Plan
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import printable
from jaxgpt.terminal import clock, standard_output, table_of

TYPICAL = 0.4
"""Share of the matrix peak that a run reaches, where none has been timed yet: a rough guess, and said to be one."""


def preview(target: Path, overrides: list[str], seeds: int | None, out: Path | None, detect: float | None) -> None:
    """Prints the plan and writes plan.json. `detect`: the seeds that find a difference of that size, from a pilot."""
    sweep = open_sweep(target, overrides, seeds, out)
    plans = sweep.plans()
    lines = [] if detect is None else detection(sweep, detect)
    tables = [_table(plan, sweep.folder) for plan in plans]
    sweep.write()
    page = standard_output()
    page.print(printable(sweep.experiment.question))
    for table, total in tables:
        page.print(table)
        page.print(total, soft_wrap=True)
    if sweep.tuning.cells and sweep.tuned() is None:
        page.print("learning rates of the reported runs are settled by the tuning runs")
    for line in lines:
        page.print(printable(line), soft_wrap=True)
    start = f"jaxgpt lab work {sweep.folder}"
    line = f"to start: {sweep.command}   or on each of several machines: {start}"
    page.print(printable(line), soft_wrap=True)


def _table(plan: Plan, folder: Path) -> tuple[Table, str]:
    """Arm by arm, and a line for all of them."""
    table = table_of("arm", "budget", "runs", "done", "steps", "tokens", "FLOPs", "time left", left=2)
    results = {cell.path: read_result(folder / cell.path) for cell in plan.cells}
    left, rough = 0.0, False
    for arm in plan.experiment.arms:
        for budget in plan.budgets if plan.stage == "report" else ("tune",):
            cells = [cell for cell in plan.cells if cell.arm == arm and (budget == "tune" or budget in cell.budgets)]
            done = sum(results[cell.path] is not None for cell in cells)
            each = cells[0].run.completed().cost()
            seconds, guessed = _seconds(plan.cells, cells, results, each.flops)
            remaining = seconds * sum(cell.run.steps for cell in cells if results[cell.path] is None)
            left, rough = left + remaining, rough or guessed
            steps = cells[0].run.steps
            table.add_row(
                arm,
                budget,
                str(len(cells)),
                str(done),
                f"{steps:,}",
                f"{steps * each.tokens:,.0f}",
                f"{steps * each.flops:.3g}",
                ("~" if guessed else "") + clock(remaining) if math.isfinite(remaining) else "?",
            )
    total = f"{len(plan.cells)} runs, about {clock(left)} left on one worker" if math.isfinite(left) else "time unknown"
    note = f" (~: guessed from FLOPs at {TYPICAL:.0%} of the device's matrix speed)" if rough else ""
    return table, f"{total}{note}"


def _seconds(
    everything: Sequence[Cell], cells: Sequence[Cell], results: Mapping[Path, Any], flops: float
) -> tuple[float, bool]:
    """Seconds a step, and whether they are guessed: from runs of the arm, of any arm, or from FLOPs."""
    for group in (cells, everything):
        done = [(cell, result) for cell in group if (result := results[cell.path])]
        spent, steps = sum(r.get("seconds", 0.0) for _, r in done), sum(cell.run.steps for cell, _ in done)
        if steps:
            return spent / steps, group is everything
    from jaxgpt.train.peak_flops import expected_flops

    peak = expected_flops(cells[0].run.computes_in)
    return (flops / (TYPICAL * peak) if peak else math.inf), True


def detection(sweep: Sweep, detect: float) -> list[str]:
    """A line for each arm against the baseline: the seeds that find a difference of `detect` with 80% power.

    The pilot is what has finished so far: its standard deviation within arms, and the correlation of the pairs. Raises
    ConfigError with fewer than 3 pairs, or for a difference that is not above 0.
    """
    if not detect > 0:
        raise ConfigError(f"--detect: expected a difference above 0, got {detect}")
    findings: Findings = analyse_sweep(sweep)
    known: list[Any] = [c for c in findings.contrasts if c.arm and c.paired.difference.n >= 3]
    if not known:
        raise ConfigError(
            f"--detect: {sweep.folder} holds no pilot; run 3 or more seeds first, as {sweep.command} --seeds 3"
        )
    arms, measure = {arm.name: arm for arm in findings.arms}, unit(findings.plan.experiment.metric)
    lines = [f"to find a difference of {detect:g} {measure} with 80% power at the 5% level (pilot: what has finished):"]
    for contrast in known:
        sd = math.sqrt(sum(arms[arm].summary.sd ** 2 for arm in contrast.weights) / 2)
        rho = contrast.paired.rho if math.isfinite(contrast.paired.rho) else 0.0
        need = pairs_needed(sd, min(rho, 0.999999), detect)
        cells = findings.plan.of(contrast.arm)
        done = [r for cell in cells if (r := read_result(sweep.folder / cell.path))]
        each = sum(r.get("seconds", 0.0) for r in done) / len(done)
        lines.append(
            f"  {contrast.name}: {need} seeds (σ {number(sd, 4)}, ρ {number(rho, 2)} over "
            f"{contrast.paired.difference.n} pairs), about {clock(2 * need * each)} for both arms"
        )
    return lines
