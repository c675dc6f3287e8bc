"""The comparisons in full: planned ones with Holm's p, explored ones with Benjamini and Hochberg's q."""

from jaxgpt.lab.analysis.findings import Contrast, Findings
from jaxgpt.lab.number_format import NONE, decimals, ends, number, p_value
from jaxgpt.lab.report.tables.arms import compares
from jaxgpt.lab.report.tables.table import Table
from jaxgpt.lab.statistics.bootstrap import FEWEST, bca
from jaxgpt.lab.statistics.paired import Summary, unpaired

NOTES = {
    True: "Planned before any run: the verdict speaks of these alone. p (Holm) keeps the chance of one false claim "
    "among all of them below 5%.",
    False: "Explored: every arm against {baseline}, asked of the data afterwards. Of what is called a difference at "
    "q (BH) < 0.05, about one in twenty is expected to be none. No claim rests on these.",
}
"""What to bear in mind, by whether the comparisons were planned."""


def groups(findings: Findings) -> list[tuple[str, str, list[Contrast]]]:
    """(heading, note, contrasts): planned and explored apart. None for a ladder without contrasts of its own, whose
    arms are sizes."""
    if findings.plan.experiment.ladder and not findings.plan.experiment.contrasts:
        return []
    kinds = []
    for planned, heading in ((True, "Planned comparisons"), (False, "Explored comparisons")):
        chosen = [contrast for contrast in findings.contrasts if contrast.planned == planned]
        if chosen:
            note = NOTES[planned].format(baseline=findings.plan.experiment.baseline)
            kinds.append((heading, note, chosen))
    return kinds


def title(findings: Findings, contrast: Contrast) -> str:
    """`rotary − learned` where a contrast is named for its arm, else its own name."""
    named = compares(findings) or not contrast.planned
    return f"{contrast.name} − {findings.plan.experiment.baseline}" if named else contrast.name


def contrast_table(findings: Findings, contrasts: list[Contrast]) -> Table:
    """One row a comparison: with the bootstrap's interval where some comparison has seeds enough for it, and with
    Welch's where finished runs do not pair."""
    adjusted = "p (Holm)" if contrasts[0].planned else "q (BH)"
    bootstrapped = any(len(contrast.differences) >= FEWEST for contrast in contrasts)
    welch = any(_loses(findings, contrast) for contrast in contrasts)
    columns = ["comparison", "seeds", "difference", "95% interval", "p", adjusted, "p (sign flip)", "dz", "ρ"]
    columns += ["detectable", *(["95% BCa"] if bootstrapped else []), *(["95% unpaired (Welch)"] if welch else [])]
    places, rows = decimals(findings.differences), []
    for contrast in contrasts:
        row = _row(findings, contrast)
        if bootstrapped:
            low, high = bca(contrast.differences)
            row.append(f"[{number(low, places, True)}, {number(high, places, True)}]" if low == low else NONE)
        if welch:
            row.append(ends(_welch(findings, contrast), places) if contrast.arm else NONE)
        rows.append(row)
    return Table(columns, rows)


def brief(findings: Findings, contrasts: list[Contrast]) -> Table:
    """The table of comparisons for a terminal: no more than the primary interval and the adjusted p."""
    shown = (0, 1, 2, 3, 5)
    columns, rows = contrast_table(findings, contrasts)
    return Table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _loses(findings: Findings, contrast: Contrast) -> bool:
    """Whether both arms have finished runs that stand in no pair."""
    return contrast.arm is not None and _welch(findings, contrast).n > len(contrast.seeds)


def _welch(findings: Findings, contrast: Contrast) -> Summary:
    """The difference over all finished runs, paired or not."""
    values = {arm.name: [o.value for o in arm.finished] for arm in findings.arms}
    plus, minus = sorted(contrast.weights, key=lambda arm: -contrast.weights[arm])
    return unpaired(values[plus], values[minus]).difference


def _row(findings: Findings, contrast: Contrast) -> list[str]:
    paired, places = contrast.paired, decimals(findings.differences)
    return [
        title(findings, contrast),
        str(paired.difference.n),
        number(paired.difference.mean, places, True),
        ends(paired.difference, places),
        p_value(paired.p),
        p_value(contrast.adjusted),
        p_value(paired.p_flip),
        number(paired.dz, 2, True),
        number(paired.rho, 2),
        number(paired.detectable, places),
    ]


def weights(contrast: Contrast) -> str:
    """`0.5 tall + 0.5 wide − 0.5 flat − 0.5 thin`."""
    terms = [
        f"{'−' if weight < 0 else '+'} {'' if abs(weight) == 1 else f'{abs(weight):.3g} '}{arm}"
        for arm, weight in contrast.weights.items()
        if weight
    ]
    return " ".join(terms).removeprefix("+ ")


def behind(findings: Findings, contrast: Contrast) -> list[tuple[int, float, list[str]]]:
    """(seed, difference, run ids) of each pair that a comparison is made of."""
    ids = {
        (o.cell.arm, o.cell.run.seed): o.cell.id
        for arm in findings.arms
        if contrast.weights.get(arm.name)
        for o in arm.finished
    }
    arms = [arm for arm, weight in contrast.weights.items() if weight]
    return [
        (seed, difference, [ids[arm, seed] for arm in arms])
        for seed, difference in zip(contrast.seeds, contrast.differences, strict=True)
    ]
