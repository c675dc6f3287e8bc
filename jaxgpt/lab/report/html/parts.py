"""The pieces of the page: tables, arms in their colours, lists, facts."""

import re
from collections.abc import Sequence

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.report.escape import for_html
from jaxgpt.lab.report.html.svg import variable


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], figures_from: int = 10**6) -> str:
    """A table from cells that are HTML already; columns from `figures_from` on are set to the right."""
    sides = [' class="figure"' if i >= figures_from else "" for i in range(len(columns))]
    head = "".join(f"<th{side}>{_heading(name)}</th>" for name, side in zip(columns, sides, strict=True))
    lines = ("".join(f"<td{side}>{cell}</td>" for cell, side in zip(row, sides, strict=True)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _heading(name: str) -> str:
    """A long one in two lines: `validation loss` above `(nats/token)`."""
    return for_html(name).replace(" (", "<br>(", 1) if len(name) > 16 else for_html(name)


def arm(findings: Findings, name: str) -> str:
    """An arm's name beside a dot in its colour."""
    colour = of_arms(findings.plan.experiment)[name]
    return f'<span class="arm" style="--arm:var({variable(colour)})">{for_html(name)}</span>'


def note(text: str) -> str:
    """A paragraph of small print; nothing at all for an empty text."""
    return f'<p class="note">{for_html(text)}</p>' if text else ""


def powers(text: str) -> str:
    """`x^−0.08` with its exponent raised."""
    return re.sub(r"\^(−?[\d.]*\d)", r"<sup>\1</sup>", for_html(text))


def remarks(lines: Sequence[str]) -> str:
    """What a reader should know before believing the figures."""
    return f'<ul class="remarks">{"".join(f"<li>{for_html(line)}</li>" for line in lines)}</ul>' if lines else ""


def fold(summary: str, content: str) -> str:
    """What opens at a click, and by itself where a link leads into it."""
    return f"<details><summary>{for_html(summary)}</summary>{content}</details>"


def facts(entries: dict[str, str]) -> str:
    """A list of names, each with its value."""
    terms = "".join(f"<dt>{for_html(name)}</dt><dd>{for_html(text)}</dd>" for name, text in entries.items())
    return f"<dl>{terms}</dl>"


def run_link(run: str) -> str:
    """A run's id, leading to its row."""
    return f'<a href="#run-{run}"><code>{run}</code></a>'
