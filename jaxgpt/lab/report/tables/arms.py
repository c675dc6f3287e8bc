"""The arms' table, and what the reports say of runs: the same rows for every medium."""

import json
import math
from typing import Any

from jaxgpt.lab.analysis.costs import Spent, per_run, step_cost
from jaxgpt.lab.analysis.findings import Arm, Findings
from jaxgpt.lab.analysis.ladder_series import size
from jaxgpt.lab.number_format import (
    AMOUNTS,
    NONE,
    count,
    decimals,
    ends,
    listed,
    mean_interval,
    number,
    p_value,
    scientific,
    short,
    with_unit,
)
from jaxgpt.lab.report.tables.table import Table
from jaxgpt.lab.statistics.paired import below
from jaxgpt.spec import diff
from jaxgpt.terminal import clock

GOAL = {"lower": "below", "higher": "above"}
"""Which side of an experiment's goal is better, by its `better`."""
SPENT = ["steps", "tokens", "FLOPs", "time"]
"""Headings of what one run of an arm takes."""


def compares(findings: Findings) -> bool:
    """Whether the arms' table says how each arm differs from the baseline: the planned comparisons are just those."""
    experiment = findings.plan.experiment
    return not experiment.contrasts and experiment.ladder is None


def arm_table(findings: Findings, full: bool = True) -> Table:
    """One row an arm, the baseline's with dashes for what compares it with itself; what was spent is the mean of a run.

    Where arms differ in it, `trained` is how many parameters a run changes. The short form is the terminal's.
    """
    experiment = findings.plan.experiment
    several = len(findings.planned) > 1
    against = ["difference", "95% interval", "p (Holm)" if several else "p"] if compares(findings) else []
    rung = ["parameters"] if full and experiment.ladder and experiment.ladder.axis == "parameters" else []
    goal = [f"p ({GOAL[experiment.better]} {experiment.goal:g})"] if full and experiment.goal is not None else []
    metric, spent = (with_unit(experiment.metric), SPENT) if full else (experiment.metric, [])
    contrasts = {contrast.name: contrast for contrast in findings.contrasts}
    trained = _trained(findings) if full else {}
    wide, narrow = decimals(arm.summary for arm in findings.arms), decimals(findings.differences)
    rows = []
    for arm in findings.arms:
        row = [arm.name, *([short(size(findings, arm.name))] if rung else []), *trained.get(arm.name, ())]
        row += [_runs(arm, full), mean_interval(arm.summary, wide)]
        if goal and experiment.goal is not None:
            sign = 1 if experiment.better == "lower" else -1
            row.append(p_value(below([sign * o.value for o in arm.finished], sign * experiment.goal)))
        if against and (contrast := contrasts.get(arm.name)):
            difference = contrast.paired.difference
            row += [number(difference.mean, narrow, True), ends(difference, narrow), p_value(contrast.adjusted)]
        elif against:
            row += ["baseline", NONE, NONE]
        rows.append(row + (_spent(findings, arm.name) if full else []))
    return Table(["arm", *rung, *(["trained"] if trained else []), "runs", metric, *goal, *against, *spent], rows)


def equality(findings: Findings) -> str:
    """A sentence that says in what the arms' runs are equal, and by how much the rest differs."""
    runs = [spent for arm in findings.arms if (spent := per_run(findings, arm.name)).tokens > 0]
    if len(runs) < 2:
        return ""
    equal, apart = [], []
    for field in Spent._fields:
        least, most = min(getattr(run, field) for run in runs), max(getattr(run, field) for run in runs)
        if 0 < most <= 1.01 * least:
            equal.append(AMOUNTS[field])
        elif least > 0:
            apart.append(f"{most / least:.2f} in {AMOUNTS[field]}")
    same = f"equal in {listed(equal)} to within 1%" if equal else ""
    differ = f"apart by a factor of {listed(apart)}" if apart else ""
    text = " and ".join(part for part in (same, differ) if part)
    return f"Runs of different arms are {text}." if text else ""


def run_table(findings: Findings) -> Table:
    """One row for each of `Findings.all_outcomes`: id, arm, seed, budgets if there are several, status, metric, tokens,
    time."""
    rows = []
    for outcome in findings.all_outcomes:
        result, cell = outcome.result, outcome.cell
        spent = [count(result["tokens"]) if "tokens" in result else NONE]
        spent += [clock(result["seconds"]) if "seconds" in result else NONE]
        budget = [" and ".join(AMOUNTS.get(name, name) for name in cell.budgets)] if findings.others else []
        rows.append([cell.id, cell.arm, str(cell.run.seed), *budget, outcome.status, number(outcome.value, 6), *spent])
    budget = ["budget"] if findings.others else []
    return Table(["run", "arm", "seed", *budget, "status", findings.plan.experiment.metric, "tokens", "time"], rows)


def difference_table(findings: Findings) -> Table:
    """Each field in which some arm differs from the baseline: path, then its value in every arm."""
    plan = findings.plan
    runs = {arm: plan.of(arm)[0].run for arm in plan.experiment.arms}
    base = runs[plan.experiment.baseline]
    changed = {arm: diff(base, run) for arm, run in runs.items()}
    rows = []
    for path in sorted({path for changes in changed.values() for path in changes}):
        own = next(changes[path][0] for changes in changed.values() if path in changes)
        rows.append([path, *(in_words(changes[path][1] if path in changes else own) for changes in changed.values())])
    return Table(["field", *runs], rows)


def exclusion_lines(findings: Findings) -> dict[str, str]:
    """Why each run that no mean contains is out, by its id."""
    return {
        o.cell.id: f"{o.cell.id} ({o.cell.arm}, seed {o.cell.run.seed}): {o.status}{f': {o.error}' if o.error else ''}"
        for o in findings.all_outcomes
        if o.status != "finished"
    }


def _runs(arm: Arm, full: bool) -> str:
    finished, planned = len(arm.finished), len(arm.outcomes)
    diverged = sum(outcome.status == "diverged" for outcome in arm.outcomes)
    text = str(planned) if finished == planned else f"{finished} of {planned}"
    return f"{text}, {diverged} diverged" if diverged and full else text


def _trained(findings: Findings) -> dict[str, list[str]]:
    """How many parameters the runs of each arm change, where the arms differ in that."""
    costs = {arm.name: step_cost(findings, arm.name) for arm in findings.arms}
    trained = {arm: math.nan if cost is None else cost.trained for arm, cost in costs.items()}
    differ = len({number for number in trained.values() if not math.isnan(number)}) > 1
    return {arm: [NONE if math.isnan(number) else count(number)] for arm, number in trained.items()} if differ else {}


def _time(seconds: float) -> str:
    return NONE if seconds != seconds else f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _spent(findings: Findings, arm: str) -> list[str]:
    """What a run of the arm takes, under `SPENT`."""
    spent = per_run(findings, arm)
    return [count(spent.steps), count(spent.tokens), scientific(spent.flops), _time(spent.seconds)]


def in_words(value: Any) -> str:
    """A field's value, or a fact, as tables show it."""
    return NONE if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
