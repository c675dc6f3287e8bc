"""The same rows for every medium: the arms' table, the runs, what differs between arms. CSV and Markdown whole."""

import csv
import io
import json
import math
from typing import Any

from jaxgpt.lab.findings import Arm, Findings, Outcome
from jaxgpt.lab.format import NONE, decimals, ends, mean_interval, number, p_value, with_unit
from jaxgpt.lab.stats import CLAIM
from jaxgpt.lab.verdict import verdict
from jaxgpt.spec import diff
from jaxgpt.terminal import clock


def arm_columns(findings: Findings, full: bool = True) -> list[str]:
    """Headings of `arm_rows`. The short form is the terminal's."""
    metric = findings.plan.experiment.metric
    several = len(findings.contrasts) > 1
    if not full:
        return ["arm", "runs", metric, "difference", "95% interval", "p (Holm)" if several else "p"]
    holm = ["p (Holm)"] if several else []
    return [
        "arm",
        "runs",
        with_unit(metric),
        "difference",
        "95% interval",
        "p",
        *holm,
        "p (sign flip)",
        "dz",
        "ρ",
        "detectable",
    ]


def arm_rows(findings: Findings, full: bool = True) -> list[list[str]]:
    """One row an arm, the baseline's with dashes for what compares it with itself."""
    contrasts = {contrast.name: contrast for contrast in findings.contrasts}
    width = len(arm_columns(findings, full))
    wide, narrow = decimals(arm.summary for arm in findings.arms), decimals(findings.differences)
    rows = []
    for arm in findings.arms:
        row = [arm.name, _runs(arm, full), mean_interval(arm.summary, wide)]
        if contrast := contrasts.get(arm.name):
            found = contrast.paired
            row += [number(found.difference.mean, narrow, True), ends(found.difference, narrow)]
            row += [p_value(found.p)] if full else []
            row += [p_value(contrast.adjusted)] if not full or len(findings.contrasts) > 1 else []
            if full:
                row += [p_value(found.p_flip), number(found.dz, 2, True), number(found.rho, 2)]
                row += [number(found.detectable, narrow)]
        else:
            row += ["baseline"]
        rows.append(row + [NONE] * (width - len(row)))
    return rows


def run_columns(findings: Findings) -> list[str]:
    """Headings of `run_row`."""
    return ["run", "arm", "seed", "status", findings.plan.experiment.metric, "tokens", "time"]


def run_row(outcome: Outcome) -> list[str]:
    """One run: id, arm, seed, status, metric, tokens, seconds."""
    result = outcome.result
    tokens = f"{result['tokens']:,.0f}" if "tokens" in result else NONE
    seconds = clock(result["seconds"]) if "seconds" in result else NONE
    cell = outcome.cell
    return [cell.id, cell.arm, str(cell.run.seed), outcome.status, number(outcome.value, 6), tokens, seconds]


def difference_rows(findings: Findings) -> list[list[str]]:
    """Each field in which some arm differs from the baseline: path, then its value in every arm."""
    plan = findings.plan
    runs = {arm: plan.of(arm)[0].run for arm in plan.experiment.arms}
    base = runs[plan.experiment.baseline]
    changed = {arm: diff(base, run) for arm, run in runs.items()}
    rows = []
    for path in sorted({path for changes in changed.values() for path in changes}):
        held = next(changes[path][0] for changes in changed.values() if path in changes)
        rows.append([path, *(_plain(changes[path][1] if path in changes else held) for changes in changed.values())])
    return rows


def exclusion_lines(findings: Findings) -> list[str]:
    """Why each run that no mean contains is out."""
    return [
        f"{o.cell.id} ({o.cell.arm}, seed {o.cell.run.seed}): {o.status}{f': {o.error}' if o.error else ''}"
        for o in findings.excluded
    ]


def cost_text(findings: Findings) -> str:
    """`12 runs, 39,321,600 tokens, 4:10 of computing`."""
    results = [outcome.result for outcome in findings.outcomes]
    tokens = sum(result.get("tokens", 0) for result in results)
    return (
        f"{len(results)} runs, {tokens:,.0f} tokens, {clock(sum(r.get('seconds', 0.0) for r in results))} of computing"
    )


def csv_text(findings: Findings) -> str:
    """One line a run. Holds nothing that a clock measured, so equal runs give equal bytes."""
    held = io.StringIO()
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(["experiment", "arm", "seed", "run", "status", "step", "tokens", findings.plan.experiment.metric])
    for outcome in findings.outcomes:
        cell, result = outcome.cell, outcome.result
        value = "" if math.isnan(outcome.value) else repr(outcome.value)
        ends_at = [result.get("step", ""), result.get("tokens", "")]
        writer.writerow([findings.plan.name, cell.arm, cell.run.seed, cell.id, outcome.status, *ends_at, value])
    return held.getvalue()


def markdown(findings: Findings) -> str:
    """report.md: what report.html shows, for a pull request or a notebook."""
    plan = findings.plan
    arms = list(plan.experiment.arms)
    parts = [
        f"# {plan.experiment.question}",
        f"**{verdict(findings)}**",
        _table(arm_columns(findings), arm_rows(findings)),
        "![Learning curves and paired differences](figure.png)",
        "## What differs",
        _table(["field", *arms], difference_rows(findings)),
    ]
    if findings.excluded:
        parts += ["## Left out of the means", "\n".join(f"- {line}" for line in exclusion_lines(findings))]
    parts += [
        "## Runs",
        _table(run_columns(findings), [run_row(outcome) for outcome in findings.outcomes]),
        f"{cost_text(findings)}. Made with `{plan.command}`. Intervals are Student t; p is the paired t test's; "
        f"below {CLAIM} pairs nothing is claimed.",
    ]
    return "\n\n".join(parts) + "\n"


def _runs(arm: Arm, full: bool) -> str:
    finished, planned = len(arm.finished), len(arm.outcomes)
    diverged = sum(outcome.status == "diverged" for outcome in arm.outcomes)
    text = str(planned) if finished == planned else f"{finished} of {planned}"
    return f"{text}, {diverged} diverged" if diverged and full else text


def _plain(value: Any) -> str:
    return NONE if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(held.replace("|", "\\|") for held in line) + " |" for line in lines)
