r"""report.tex: the arms and the comparisons as booktabs tables, to be \input into a paper.

Needs \usepackage{booktabs} and nothing else; any of pdflatex, xelatex and lualatex.
"""

import unicodedata

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.number_format import AMOUNTS, NONE, quantity, span, with_unit
from jaxgpt.lab.report.escape import one_line
from jaxgpt.lab.report.tables.arms import arm_table
from jaxgpt.lab.report.tables.contrasts import contrast_table, groups
from jaxgpt.lab.report.tables.laws import law_tables
from jaxgpt.lab.report.tables.table import Table
from jaxgpt.lab.statistics.paired import CLAIM
from jaxgpt.lab.sweep.budget import AS_CONFIGURED

LEFT_OUT = {"p (sign flip)", "dz", "ρ", "detectable", "largest residual"}
"""Columns that a paper's table has no room for; report.html has them."""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "–": "--",
    "—": "---",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\u00a0": "~",
    "[": "{[}",  # after a line's end `\\` a bracket would be an optional length
} | {char: f"\\{char}" for char in "&%$#_{}"}


def latex(findings: Findings) -> str:
    """One table float: arms, then planned and explored comparisons, or a ladder's laws. `\\label{tab:NAME}`."""
    experiment = findings.plan.experiment
    lines = [
        f"% {one_line(findings.plan.command or findings.plan.name)}",
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        f"\\caption{{{escape(caption(findings))}}}",
        f"\\label{{tab:{''.join(char if char.isascii() and char.isalnum() else '-' for char in findings.plan.name)}}}",
        r"\smallskip",
    ]
    parts = [_tabular(arm_table(findings), "", _left_out(findings))]
    laws = law_tables(findings)
    parts += [_tabular(table, "", LEFT_OUT) for table in laws]
    for heading, _, contrasts in groups(findings) if experiment.contrasts or laws else []:
        parts.append(_tabular(contrast_table(findings, contrasts), heading, LEFT_OUT))
    return "\n".join([*lines, "\n\n\\medskip\n".join(parts), r"\end{table}"]) + "\n"


def caption(findings: Findings) -> str:
    """Question, metric, n, test and adjustment."""
    experiment = findings.plan.experiment
    metric = with_unit(experiment.metric)
    seeds = span(arm.summary.n for arm in findings.arms)
    budget = f" Arms had equal {AMOUNTS[findings.budget]}." if findings.budget != AS_CONFIGURED else ""
    text = (
        f"{experiment.question} {metric[:1].upper()}{metric[1:]}, mean over n = {seeds} seeds an arm ± half its 95% t "
        f"interval; {experiment.better} is better.{budget}"
    )
    if shared := _shared(findings):
        text += f" Each run took {' and '.join(f'{amount} {name}' for name, amount in shared.items())}."
    if experiment.ladder:
        text += " Power laws are fitted to each seed apart."
    if experiment.contrasts or not experiment.ladder:
        pairs = [contrast.paired.difference.n for contrast in findings.contrasts]
        text += f" Differences in {quantity(experiment.metric)} are paired by seed (n = {span(pairs)}), two-sided "
        text += "paired t test"
        text += f", Holm's adjustment over {len(findings.planned)} planned contrasts" * (len(findings.planned) > 1)
        text += ", Benjamini and Hochberg's q for what was explored" * (len(findings.contrasts) > len(findings.planned))
        text += f". Descriptive only: fewer than {CLAIM} pairs." if min(pairs) < CLAIM else "."
    return text


def escape(text: str) -> str:
    """Text that LaTeX sets as it stands here; a character that pdflatex has no name for becomes its code point."""
    return "".join(_SPECIAL.get(char) or _letter(char) for char in one_line(text)).replace("}$$^{", "")


def _letter(char: str) -> str:
    if char.isascii():
        return char if char.isprintable() else " "
    name = unicodedata.name(char, "").split()
    if name[:1] == ["GREEK"] and len(name) == 4 and name[2] == "LETTER" and name[3] != "OMICRON":
        letter = name[3].lower().replace("lamda", "lambda")
        if name[1] == "SMALL":
            return f"$\\{letter}$"
        return f"$\\{letter.title()}$" if letter in _CAPITALS else f"\\ensuremath{{\\mathrm{{{letter[0].upper()}}}}}"
    form = unicodedata.decomposition(char)
    if form.startswith("<super>"):
        return f"$^{{{unicodedata.normalize('NFKC', char).replace('−', '-')}}}$"
    if char.isalpha() and ord(char) < 0x180:  # Latin letters, which the default encoding of today's LaTeX knows
        return char
    plain = unicodedata.normalize("NFKD", char)
    known = plain.isascii() and plain.isprintable()
    return "".join(_SPECIAL.get(part, part) for part in plain) if known else f"U+{ord(char):04X}"


_CAPITALS = {"gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega"}


def _left_out(findings: Findings) -> set[str]:
    """Columns that the arms' table leaves out: steps; time, unless arms had equal amounts of it; and what the caption
    tells once."""
    return {"steps", *_shared(findings)} | ({"time"} if findings.budget != "seconds" else set())


def _shared(findings: Findings) -> dict[str, str]:
    """Tokens and FLOPs of a run where they are the same in every arm."""
    table = arm_table(findings)
    columns = dict(zip(table.columns, zip(*table.rows, strict=True), strict=True))
    return {name: columns[name][0] for name in ("tokens", "FLOPs") if len({*columns[name], NONE}) == 2}


def _tabular(table: Table, heading: str, left_out: set[str]) -> str:
    """Names to the left, figures to the right. The unit of a column's heading is the caption's to tell."""
    shown = {i: name for i, name in enumerate(table.columns) if name not in left_out}
    columns = [name if "p (" in name or "q (" in name else name.split(" (")[0] for name in shown.values()]
    rows = [[row[i] for i in shown] for row in table.rows]
    title = [f"\\textit{{{escape(heading)}}}\\\\[2pt]"] if heading else []
    return "\n".join(
        [
            *title,
            f"\\begin{{tabular}}{{@{{}}l{'r' * (len(columns) - 1)}@{{}}}}",
            r"\toprule",
            _line(columns),
            r"\midrule",
            *map(_line, rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _line(cells: list[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
