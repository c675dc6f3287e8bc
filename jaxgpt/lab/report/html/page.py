"""report.html: one file that opens offline, on a phone, by day and by night."""

from jaxgpt.lab.analysis.drift import drift
from jaxgpt.lab.analysis.findings import Contrast, Findings
from jaxgpt.lab.analysis.ladder_series import series_of
from jaxgpt.lab.analysis.verdict import shown, verdict
from jaxgpt.lab.number_format import AMOUNTS
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.report.escape import for_html, for_html_lines
from jaxgpt.lab.report.figures.figure import panels, svg
from jaxgpt.lab.report.figures.similarity_by_run import every_run
from jaxgpt.lab.report.html.parts import arm, facts, fold, note, powers, remarks, run_link, table
from jaxgpt.lab.report.html.style import css
from jaxgpt.lab.report.html.svg import inline, variable
from jaxgpt.lab.report.markdown import FEW
from jaxgpt.lab.report.tables.arms import arm_table, difference_table, equality, exclusion_lines, run_table
from jaxgpt.lab.report.tables.contrasts import behind, contrast_table, groups, title, weights
from jaxgpt.lab.report.tables.costs import chosen_column, cost_table, cost_text, edge_lines, rate_table, tuning_note
from jaxgpt.lab.report.tables.environment import environment
from jaxgpt.lab.report.tables.how_computed import computed
from jaxgpt.lab.report.tables.laws import CAUTION, LAW, law_tables
from jaxgpt.lab.statistics.paired import CLAIM, EXACT
from jaxgpt.spec import dump_yaml


def page(findings: Findings) -> str:
    """The whole page. Every figure links to the rows of the runs it comes from."""
    plan, experiment, drifts = findings.plan, findings.plan.experiment, drift(findings)
    claimed = next((c.arm for c in findings.planned if shown(c) and c.arm), experiment.baseline)
    accent = variable(of_arms(experiment)[claimed])
    body = [
        f'<header><p class="name">{for_html(plan.name)} · {for_html(cost_text(findings))}</p>',
        f"<h1>{for_html(experiment.question)}</h1></header>",
        f'<p class="verdict">{powers(verdict(findings))}</p>',
        remarks([*findings.troubles, *edge_lines(findings), *drifts]),
        _arm_table(findings),
        _pictures(findings),
        _laws(findings),
        _comparisons(findings),
        *map(_other, findings.others),
        _exclusions(findings),
        _tuning(findings),
        "<h2>What differs between the arms</h2>",
        _differences(findings),
        "<h2>Cost</h2>",
        _costs(findings),
        "<h2>How the runs were computed</h2>",
        note(computed(findings, drifts)),
        facts({"command": plan.command}),
        fold("Libraries, devices and data", facts(environment(findings))),
        "<h2>How to read this</h2>",
        _methods(findings),
        "<h2>Runs</h2>",
        _run_table(findings),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{for_html(experiment.question)}</title>\n<style>{css()}:root{{--accent:var({accent})}}</style>\n</head>\n"
        f"<body>\n<main>\n{chr(10).join(part for part in body if part)}\n</main>\n</body>\n</html>\n"
    )


def _arm_table(findings: Findings) -> str:
    columns, arms = arm_table(findings)
    runs = columns.index("runs")
    rows = []
    for name, *figures in arms:
        first = findings.plan.of(name, findings.budget)[0].id
        cells = [arm(findings, name), *map(for_html, figures)]
        cells[runs] = f'<a href="#run-{first}">{cells[runs]}</a>'
        rows.append(cells)
    spent = "Steps, tokens, FLOPs and time are those of one run, the mean of the arm’s finished ones. "
    return table(columns, rows, figures_from=1 if "parameters" in columns else 2) + note(spent + equality(findings))


def _pictures(findings: Findings) -> str:
    shown = panels(findings)
    figures = "".join(f"<figure>{inline(svg(findings, panel), panel.name, panel.label)}</figure>" for panel in shown)
    rungs = "; the larger a rung, the stronger its colour" if findings.plan.experiment.ladder else ""
    words = {
        "ladder": "Law: a dot for each seed, a diamond for their geometric mean, a line for the fit.",
        "curves": "Curves: all of training and, enlarged, its end" + rungs + ".",
        "forest": "Differences: a dot for each seed’s pair, a diamond for their mean, a line for its 95% interval.",
        "sphere": "Sphere: a dot for each run, a diamond for their mean.",
        "heat": "Heat maps: rows are first texts, columns second ones, the pair that people scored highest at the top "
        "left; framed are the pairs; an arm’s map is the mean of its runs’.",
    }
    captions = note(" ".join(words[panel.name] for panel in shown))
    return f'<div class="panels">{figures}</div>{captions}{_heat_runs(findings)}'


def _heat_runs(findings: Findings) -> str:
    drawn, inches = every_run(findings)
    if not drawn:
        return ""
    picture = inline(drawn, "heats", "Heat maps of the cosines of scored pairs of texts, one for each run")
    return fold(
        "Similarity, run by run", f'<div class="scroll"><figure style="width:{inches:.1f}in">{picture}</figure></div>'
    )


def _laws(findings: Findings) -> str:
    series = series_of(findings)
    if not series:
        return ""
    text = "<h2>The law</h2>"
    for columns, rows in law_tables(findings):
        text += table(columns, [list(map(for_html, row)) for row in rows], figures_from=1)
    text += note(f"{LAW} {CAUTION}")
    pairs = [
        [
            for_html(each.name),
            str(seed),
            f"{each.exponents[seed]:.4f}" if each.law else "",
            _links(findings, each.arms, seed),
        ]
        for each in series
        for seed in each.seeds
    ]
    return text + (fold("The runs behind each law", table(["series", "seed", "b", "runs"], pairs)) if pairs else "")


def _links(findings: Findings, arms: tuple[str, ...], seed: int) -> str:
    ids = {o.cell.arm: o.cell.id for o in findings.outcomes if o.cell.run.seed == seed}
    return " ".join(run_link(ids[name]) for name in arms)


def _comparisons(findings: Findings, level: int = 2) -> str:
    parts = []
    for heading, words, contrasts in groups(findings):
        columns, cells = contrast_table(findings, contrasts)
        rows = [[_named(findings, c), *map(for_html, row[1:])] for c, row in zip(contrasts, cells, strict=True)]
        parts += [f"<h{level}>{heading}</h{level}>", table(columns, rows, 1), note(words)]
        pairs = [
            [
                for_html(title(findings, c)),
                str(seed),
                f"{difference:+.6f}".replace("-", "−"),
                " ".join(map(run_link, ids)),
            ]
            for c in contrasts
            for seed, difference, ids in behind(findings, c)
        ]
        if pairs:
            parts.append(
                fold("The runs behind each comparison", table(["comparison", "seed", "difference", "runs"], pairs))
            )
    return "\n".join(parts)


def _named(findings: Findings, contrast: Contrast) -> str:
    """The comparison's name, with its weights below where they are not those of one arm against another."""
    name = for_html(title(findings, contrast))
    return name if contrast.arm else f"{name}<small>{for_html(weights(contrast))}</small>"


def _other(findings: Findings) -> str:
    """The tables and the verdict under another budget."""
    head = f"<h2>At equal {AMOUNTS[findings.budget]}</h2><p>{powers(verdict(findings))}</p>"
    return head + _arm_table(findings) + _comparisons(findings, level=3)


def _exclusions(findings: Findings) -> str:
    lines = exclusion_lines(findings)
    if not lines:
        return ""
    items = "".join(f'<li><a href="#run-{run}">{for_html(line)}</a></li>' for run, line in lines.items())
    words = "A run that diverged is a result: means and intervals hold for the runs that finished only."
    return f"<h2>Left out of the means</h2>{note(words)}<ul>{items}</ul>"


def _tuning(findings: Findings) -> str:
    if not findings.tuned:
        return ""
    columns, rates = rate_table(findings)
    rows = []
    for name, *figures in rates:
        tuned, cells = findings.tuned[name], [arm(findings, name), *map(for_html, figures)]
        for column, rate in enumerate(tuned.rates, start=1):
            folder = f"tune/{name}-lr{rate.lr:g}/"
            if (findings.folder / folder).is_dir():
                cells[column] = f'<a href="{for_html(folder)}">{cells[column]}</a>'
        best = chosen_column(findings, tuned)
        cells[best] = f"<strong>{cells[best]}</strong>"
        rows.append(cells)
    return f"<h2>Learning rates</h2>{table(columns, rows, 1)}{note(tuning_note(findings))}"


def _differences(findings: Findings) -> str:
    plan = findings.plan
    columns, fields = difference_table(findings)
    rows = [[f"<code>{for_html(path)}</code>", *map(for_html, values)] for path, *values in fields]
    whole = dump_yaml(plan.of(plan.experiment.baseline)[0].run)
    return table(columns, rows) + fold("The baseline’s whole configuration", f"<pre>{for_html_lines(whole)}</pre>")


def _costs(findings: Findings) -> str:
    columns, costs = cost_table(findings)
    arms = findings.plan.experiment.arms
    rows = [[arm(findings, name) if name in arms else name, *map(for_html, figures)] for name, *figures in costs]
    return table(columns, rows, 1)


def _methods(findings: Findings) -> str:
    return note(
        "Seed i is the same in every arm, so runs pair. A difference is taken seed by seed; its interval and p come "
        "from Student’s t on these differences. p (sign flip) is exact over all choices of sign, up to "
        f"{EXACT} pairs. dz is the mean "
        "difference over its standard deviation; ρ the correlation of the pairs; detectable the true difference "
        f"that this many pairs find with 80% power. Below {CLAIM} pairs nothing is claimed. FLOPs are forward and "
        "backward, counting the keys that attention really visits."
    )


def _run_table(findings: Findings) -> str:
    columns, runs = run_table(findings)
    rows = []
    for outcome, (run, name, *rest) in zip(findings.all_outcomes, runs, strict=True):
        link = f'<a id="run-{run}" href="{for_html(outcome.cell.path.as_posix())}/"><code>{run}</code></a>'
        rows.append([link, arm(findings, name), *map(for_html, rest)])
    text = table(columns, rows, figures_from=columns.index("status") + 1)
    return text if len(rows) <= FEW else fold(f"All {len(rows)} runs", text)
