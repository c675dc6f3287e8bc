"""What the answer took: each arm's runs, tokens, FLOPs and time, and what was spent on choosing its learning rate."""

import math

from jaxgpt.lab.analysis.costs import Spent, flops_per_token, total
from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.number_format import NONE, count, decimals, number, scientific
from jaxgpt.lab.question.tune import FIRST_SEED, Tuned
from jaxgpt.lab.report.tables.arms import everything
from jaxgpt.lab.statistics.paired import summarise
from jaxgpt.terminal import clock


def cost_columns(findings: Findings) -> list[str]:
    """Headings of `cost_rows`."""
    tuning = ["tuning runs", "tokens", "FLOPs", "time"] if findings.tuned else []
    return ["arm", "runs", "tokens", "FLOPs", "time", *tuning]


def cost_rows(findings: Findings) -> list[list[str]]:
    """One row an arm and one for all, over every budget; runs that diverged have cost as well."""
    spent, tuning = _reported(findings), _tuning(findings)
    names = [*findings.plan.experiment.arms, "all"]
    spent["all"], tuning["all"] = _sum(spent), _sum(tuning)
    return [
        [name, *_cells(*spent[name]), *(_cells(*tuning[name]) if name in tuning else [NONE] * 4)]
        if findings.tuned
        else [name, *_cells(*spent[name])]
        for name in names
    ]


def cost_text(findings: Findings) -> str:
    """`12 runs, 39,321,600 tokens, 1.2×10¹⁵ FLOPs, 4:10 of computing`, tuning included."""
    runs, spent = _sum(_reported(findings))
    tuned = f", {sum(held.runs for held in findings.tuned.values())} of tuning" if findings.tuned else ""
    more = _sum(_tuning(findings))[1]
    flops = spent.flops + more.flops
    parts = [f"{runs} runs{tuned}", f"{count(spent.tokens + more.tokens)} tokens"]
    parts += [f"{scientific(flops)} FLOPs"] if math.isfinite(flops) and flops > 0 else []
    return ", ".join([*parts, f"{clock(spent.seconds + more.seconds)} of computing"])


def rate_columns(findings: Findings) -> list[str]:
    """Headings of `rate_rows`: the grid, which is the same for every arm."""
    return ["arm", *(f"{lr:g}" for lr in _grid(findings)), "chosen"]


def rate_rows(findings: Findings) -> list[list[str]]:
    """Each arm's mean at each learning rate, and what was chosen."""
    means = [summarise(rate.values) for held in findings.tuned.values() for rate in held.rates]
    places = min(4, decimals(held for held in means if math.isfinite(held.half)))
    rows = []
    for arm, held in findings.tuned.items():
        by = {rate.lr: rate.mean for rate in held.rates}
        cells = [number(by[lr], places) if math.isfinite(by[lr]) else "diverged" for lr in _grid(findings)]
        rows.append([arm, *cells, f"{held.lr:g}"])
    return rows


def chosen_column(findings: Findings, held: Tuned) -> int:
    """Where in an arm's row of `rate_rows` its best stands."""
    return 1 + _grid(findings).index(held.lr)


def tuning_note(findings: Findings) -> str:
    """What every arm was given, and that the reported seeds had no part in it."""
    tune = findings.plan.experiment.tune
    if tune is None or not findings.tuned:
        return ""
    seeds = [o.cell.run.seed for o in findings.outcomes]
    first = FIRST_SEED + min(seeds)
    return (
        f"Each arm had the same effort: {len(tune.lr)} learning rates × {tune.seeds} "
        f"{_plural('seed', tune.seeds)}. Tuning used seeds {_span(first, first + tune.seeds - 1)}, the report uses "
        f"{_span(min(seeds), max(seeds))}: no reported run had a part in the choice."
    )


def edge_lines(findings: Findings) -> list[str]:
    """A warning for each arm whose best learning rate ends the grid."""
    lines = []
    for arm, held in findings.tuned.items():
        if held.edge:
            end, beyond = ("lowest", "below") if held.lr == held.rates[0].lr else ("highest", "above")
            lines.append(
                f"{arm}: its best learning rate, {held.lr:g}, is the {end} tried; a better one may lie {beyond}"
            )
    return lines


def _reported(findings: Findings) -> dict[str, tuple[int, Spent]]:
    held = {arm: [o for o in everything(findings) if o.cell.arm == arm] for arm in findings.plan.experiment.arms}
    return {arm: (len(outcomes), total(findings, outcomes)) for arm, outcomes in held.items()}


def _tuning(findings: Findings) -> dict[str, tuple[int, Spent]]:
    return {
        arm: (held.runs, Spent(math.nan, held.tokens, held.tokens * flops_per_token(findings, arm), held.seconds))
        for arm, held in findings.tuned.items()
    }


def _sum(held: dict[str, tuple[int, Spent]]) -> tuple[int, Spent]:
    spent = [each for _, each in held.values()]
    columns = (sum(getattr(each, field) for each in spent) for field in Spent._fields)
    return sum(runs for runs, _ in held.values()), Spent(*columns)


def _cells(runs: int, spent: Spent) -> list[str]:
    return [count(runs), count(spent.tokens), scientific(spent.flops), clock(spent.seconds)]


def _grid(findings: Findings) -> list[float]:
    return sorted({rate.lr for held in findings.tuned.values() for rate in held.rates})


def _span(first: int, last: int) -> str:
    return f"{first} to {last}" if last > first else str(first)


def _plural(word: str, n: int) -> str:
    return word if n == 1 else f"{word}s"
