"""report.md: what report.html shows, for a pull request or a notebook."""

from jaxgpt.lab.analysis.drift import drift
from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.analysis.verdict import verdict
from jaxgpt.lab.number_format import AMOUNTS
from jaxgpt.lab.report.escape import for_markdown, for_markdown_code
from jaxgpt.lab.report.tables.arms import arm_table, difference_table, equality, exclusion_lines, run_table
from jaxgpt.lab.report.tables.contrasts import behind, contrast_table, groups, title
from jaxgpt.lab.report.tables.costs import cost_table, cost_text, edge_lines, rate_table, tuning_note
from jaxgpt.lab.report.tables.how_computed import computed
from jaxgpt.lab.report.tables.laws import CAUTION, LAW, law_tables
from jaxgpt.lab.report.tables.table import Table
from jaxgpt.lab.statistics.paired import CLAIM
from jaxgpt.lab.sweep.budget import AS_CONFIGURED

FEW = 60
"""Runs up to which their ids are listed for each comparison; above it, the table of runs tells them."""


def markdown(findings: Findings) -> str:
    """The whole report as a Markdown document."""
    plan, drifts = findings.plan, drift(findings)
    parts = [
        f"# {for_markdown(plan.experiment.question)}",
        f"**{for_markdown(verdict(findings))}**",
        *_lines([*findings.troubles, *edge_lines(findings), *drifts]),
        *_arms(findings),
        "![The report's figure](figure.png)",
        *_laws(findings),
        *_comparisons(findings, "##"),
    ]
    for under in findings.others:
        parts += [
            f"## At equal {AMOUNTS[under.budget]}",
            for_markdown(verdict(under)),
            *_arms(under),
            *_comparisons(under, "###"),
        ]
    if findings.tuned:
        parts += ["## Learning rates", tuning_note(findings), _table(rate_table(findings))]
    parts += ["## What differs", _table(difference_table(findings))]
    if excluded := exclusion_lines(findings):
        parts += ["## Left out of the means", *_lines(list(excluded.values()))]
    parts += [
        "## Cost",
        _table(cost_table(findings)),
        for_markdown(f"{cost_text(findings)}. {computed(findings, drifts)}"),
        "## Runs",
        _table(run_table(findings)),
        f"Made with {for_markdown_code(plan.command)}. Intervals are Student t; p is the paired t test's; below "
        f"{CLAIM} pairs nothing is claimed.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _arms(findings: Findings) -> list[str]:
    budget = f"Budget: equal {AMOUNTS[findings.budget]}. " if findings.budget != AS_CONFIGURED else ""
    return [_table(arm_table(findings)), f"{budget}{equality(findings)}"]


def _comparisons(findings: Findings, level: str) -> list[str]:
    parts = []
    for heading, note, contrasts in groups(findings):
        parts += [f"{level} {heading}", _table(contrast_table(findings, contrasts)), note]
        if len(findings.outcomes) <= FEW:
            parts += _lines(
                [
                    f"{title(findings, contrast)}: "
                    + ", ".join(f"seed {seed} ({' '.join(ids)})" for seed, _, ids in behind(findings, contrast))
                    for contrast in contrasts
                    if contrast.seeds
                ]
            )
    return parts


def _laws(findings: Findings) -> list[str]:
    tables = list(map(_table, law_tables(findings)))
    return ["## The law", *tables, f"{LAW} {CAUTION}"] if tables else []


def _lines(lines: list[str]) -> list[str]:
    return ["\n".join(f"- {for_markdown(line)}" for line in lines)] if lines else []


def _table(table: Table) -> str:
    head, *rows = [list(map(for_markdown, line)) for line in (table.columns, *table.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))
