"""What the answer took: each arm's runs, tokens, FLOPs and time, and what was spent on choosing its learning rate."""

import math

from jaxgpt.lab.analysis.costs import Spent, flops_per_token, total
from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.number_format import NONE, count, decimals, number, scientific, span
from jaxgpt.lab.question.tune import FIRST_SEED, Tuned
from jaxgpt.lab.report.tables.table import Table
from jaxgpt.lab.statistics.paired import summarise
from jaxgpt.terminal import clock


def cost_table(findings: Findings) -> Table:
    """One row an arm and one for all, over every budget; runs that diverged have cost as well."""
    spent, tuning = _reported(findings), _tuning(findings)
    names = [*findings.plan.experiment.arms, "all"]
    spent["all"], tuning["all"] = _sum(spent), _sum(tuning)
    columns, rows = ["arm", "runs", "tokens", "FLOPs", "time"], [[name, *_cells(*spent[name])] for name in names]
    if findings.tuned:
        columns += ["tuning runs", "tokens", "FLOPs", "time"]
        rows = [
            row + (_cells(*tuning[name]) if name in tuning else [NONE] * 4)
            for name, row in zip(names, rows, strict=True)
        ]
    return Table(columns, rows)


def cost_text(findings: Findings) -> str:
    """`12 runs, 39,321,600 tokens, 1.2×10¹⁵ FLOPs, 4:10 of computing`, tuning included."""
    runs, spent = _sum(_reported(findings))
    tuned = f", {sum(choice.runs for choice in findings.tuned.values())} of tuning" if findings.tuned else ""
    more = _sum(_tuning(findings))[1]
    flops = spent.flops + more.flops
    parts = [f"{runs} runs{tuned}", f"{count(spent.tokens + more.tokens)} tokens"]
    parts += [f"{scientific(flops)} FLOPs"] if math.isfinite(flops) and flops > 0 else []
    return ", ".join([*parts, f"{clock(spent.seconds + more.seconds)} of computing"])


def rate_table(findings: Findings) -> Table:
    """Each arm's mean at each learning rate of the grid, which is the same for every arm, and what was chosen."""
    grid = _grid(findings)
    means = [summarise(rate.values) for tuned in findings.tuned.values() for rate in tuned.rates]
    places = min(4, decimals(mean for mean in means if math.isfinite(mean.half)))
    rows = []
    for arm, tuned in findings.tuned.items():
        by = {rate.lr: rate.mean for rate in tuned.rates}
        cells = [number(by[lr], places) if math.isfinite(by[lr]) else "diverged" for lr in grid]
        rows.append([arm, *cells, f"{tuned.lr:g}"])
    return Table(["arm", *(f"{lr:g}" for lr in grid), "chosen"], rows)


def chosen_column(findings: Findings, tuned: Tuned) -> int:
    """Where in an arm's row of `rate_table` its best stands."""
    return 1 + _grid(findings).index(tuned.lr)


def tuning_note(findings: Findings) -> str:
    """What every arm was given, and that the reported seeds had no part in it."""
    tune = findings.plan.experiment.tune
    if tune is None or not findings.tuned:
        return ""
    seeds = [o.cell.run.seed for o in findings.outcomes]
    first = FIRST_SEED + min(seeds)
    return (
        f"Each arm had the same effort: {len(tune.lr)} learning rates × {tune.seeds} "
        f"seed{'s'[: tune.seeds > 1]}. Tuning used seeds {span([first, first + tune.seeds - 1])}, the report uses "
        f"{span(seeds)}: no reported run had a part in the choice."
    )


def edge_lines(findings: Findings) -> list[str]:
    """A warning for each arm whose best learning rate ends the grid."""
    lines = []
    for arm, tuned in findings.tuned.items():
        if tuned.edge:
            end, beyond = ("lowest", "below") if tuned.lr == tuned.rates[0].lr else ("highest", "above")
            lines.append(
                f"{arm}: its best learning rate, {tuned.lr:g}, is the {end} tried; a better one may lie {beyond}"
            )
    return lines


def _reported(findings: Findings) -> dict[str, tuple[int, Spent]]:
    by_arm = {arm: [o for o in findings.all_outcomes if o.cell.arm == arm] for arm in findings.plan.experiment.arms}
    return {arm: (len(outcomes), total(findings, outcomes)) for arm, outcomes in by_arm.items()}


def _tuning(findings: Findings) -> dict[str, tuple[int, Spent]]:
    return {
        arm: (tuned.runs, Spent(math.nan, tuned.tokens, tuned.tokens * flops_per_token(findings, arm), tuned.seconds))
        for arm, tuned in findings.tuned.items()
    }


def _sum(by_arm: dict[str, tuple[int, Spent]]) -> tuple[int, Spent]:
    spent = [each for _, each in by_arm.values()]
    columns = (sum(getattr(each, field) for each in spent) for field in Spent._fields)
    return sum(runs for runs, _ in by_arm.values()), Spent(*columns)


def _cells(runs: int, spent: Spent) -> list[str]:
    return [count(runs), count(spent.tokens), scientific(spent.flops), clock(spent.seconds)]


def _grid(findings: Findings) -> list[float]:
    return sorted({rate.lr for tuned in findings.tuned.values() for rate in tuned.rates})
