"""report.html: one file that opens offline, on a phone, by day and by night."""

from html import escape

from jaxgpt.lab.findings import Findings
from jaxgpt.lab.format import quantity
from jaxgpt.lab.report.curves import draw_curves
from jaxgpt.lab.report.environment import environment
from jaxgpt.lab.report.figure import svg
from jaxgpt.lab.report.forest import draw_forest
from jaxgpt.lab.report.palette import colours
from jaxgpt.lab.report.style import css
from jaxgpt.lab.report.svg import inline, variable
from jaxgpt.lab.report.tables import (
    arm_columns,
    arm_rows,
    cost_text,
    difference_rows,
    exclusion_lines,
    run_columns,
    run_row,
)
from jaxgpt.lab.stats import CLAIM
from jaxgpt.lab.verdict import shown, verdict
from jaxgpt.spec import dump_yaml


def page(findings: Findings) -> str:
    """The whole page. Every figure links to the rows of the runs it comes from."""
    plan, experiment = findings.plan, findings.plan.experiment
    claimed = next((c.arm for c in findings.contrasts if shown(c) and c.arm), experiment.baseline)
    accent = variable(colours(list(experiment.arms), experiment.baseline)[claimed])
    body = [
        f'<header><p class="name">{escape(plan.name)} · {escape(cost_text(findings))}</p>',
        f"<h1>{escape(experiment.question)}</h1></header>",
        f'<p class="verdict">{escape(verdict(findings))}</p>',
        _arm_table(findings),
        _pictures(findings),
        _exclusions(findings),
        "<h2>What differs between the arms</h2>",
        _differences(findings),
        "<h2>How to read this</h2>",
        _methods(findings),
        "<h2>Runs</h2>",
        _run_table(findings),
        "<h2>Cost and environment</h2>",
        _facts({"cost": cost_text(findings), "command": plan.command} | environment(findings)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(experiment.question)}</title>\n<style>{css()}:root{{--accent:var({accent})}}</style>\n</head>\n"
        f"<body>\n<main>\n{chr(10).join(part for part in body if part)}\n</main>\n</body>\n</html>\n"
    )


def _arm_table(findings: Findings) -> str:
    columns = arm_columns(findings)
    rows = []
    for name, *figures in arm_rows(findings):
        first = findings.plan.of(name)[0].id
        runs, *rest = map(escape, figures)
        rows.append([_arm(findings, name), f'<a href="#run-{first}">{runs}</a>', *rest])
    return _table(columns, rows, figures_from=2)


def _pictures(findings: Findings) -> str:
    metric = quantity(findings.plan.experiment.metric)
    curves = inline(svg(findings, draw_curves), "curves", f"Learning curves of {metric}, one for each arm")
    forest = inline(svg(findings, draw_forest), "forest", f"Paired differences in {metric} with 95% intervals")
    note = (
        '<p class="note">Curves: all of training and, enlarged, its end. Differences: a dot for each seed’s pair, '
        "a diamond for their mean, a line for its 95% interval.</p>"
    )
    return f'<div class="panels"><figure>{curves}</figure><figure>{forest}</figure></div>{note}'


def _exclusions(findings: Findings) -> str:
    if not findings.excluded:
        return ""
    lines = "".join(
        f'<li><a href="#run-{o.cell.id}">{escape(line)}</a></li>'
        for o, line in zip(findings.excluded, exclusion_lines(findings), strict=True)
    )
    return (
        "<h2>Left out of the means</h2>"
        '<p class="note">A run that diverged is a result: means and intervals hold for the runs that finished only.</p>'
        f"<ul>{lines}</ul>"
    )


def _differences(findings: Findings) -> str:
    plan = findings.plan
    rows = [[f"<code>{escape(path)}</code>", *map(escape, held)] for path, *held in difference_rows(findings)]
    whole = dump_yaml(plan.of(plan.experiment.baseline)[0].run)
    return _table(["field", *plan.experiment.arms], rows) + (
        f"<details><summary>The baseline’s whole configuration</summary><pre>{escape(whole)}</pre></details>"
    )


def _methods(findings: Findings) -> str:
    experiment = findings.plan.experiment
    several = "p (Holm) is adjusted over all contrasts. " if len(findings.contrasts) > 1 else ""
    return (
        f'<p class="note">Seed i is the same in every arm, so runs pair. A difference is the arm minus '
        f"{escape(experiment.baseline)}, seed by seed; its interval and p come from Student’s t on these differences. "
        f"{several}p (sign flip) is exact over all choices of sign. dz is the mean difference "
        "over its standard deviation; ρ the correlation of the pairs; detectable the true difference "
        f"that this many pairs find with 80% power. Below {CLAIM} pairs nothing is claimed.</p>"
    )


def _run_table(findings: Findings) -> str:
    rows = []
    for outcome in findings.outcomes:
        run, arm, *rest = run_row(outcome)
        link = f'<a id="run-{run}" href="{escape(outcome.cell.path.as_posix())}/"><code>{run}</code></a>'
        rows.append([link, _arm(findings, arm), *map(escape, rest)])
    return _table(run_columns(findings), rows, figures_from=4)


def _arm(findings: Findings, name: str) -> str:
    experiment = findings.plan.experiment
    colour = colours(list(experiment.arms), experiment.baseline)[name]
    return f'<span class="arm" style="--arm:var({variable(colour)})">{escape(name)}</span>'


def _facts(facts: dict[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(held)}</dd>' for name, held in facts.items())}</dl>"


def _table(columns: list[str], rows: list[list[str]], figures_from: int = 10**6) -> str:
    """A table from cells that are HTML already; columns from `figures_from` on are set to the right."""
    sides = [' class="figure"' if i >= figures_from else "" for i in range(len(columns))]
    head = "".join(f"<th{side}>{escape(name)}</th>" for name, side in zip(columns, sides, strict=True))
    lines = ("".join(f"<td{side}>{held}</td>" for held, side in zip(row, sides, strict=True)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
