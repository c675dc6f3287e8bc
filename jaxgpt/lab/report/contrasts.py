"""The comparisons in full: planned ones with Holm's p, explored ones with Benjamini and Hochberg's q."""

from jaxgpt.lab.findings import Contrast, Findings
from jaxgpt.lab.format import decimals, ends, number, p_value
from jaxgpt.lab.report.tables import compares

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
    found = []
    for planned, heading in ((True, "Planned comparisons"), (False, "Explored comparisons")):
        held = [contrast for contrast in findings.contrasts if contrast.planned == planned]
        if held:
            note = NOTES[planned].format(baseline=findings.plan.experiment.baseline)
            found.append((heading, note, held))
    return found


def title(findings: Findings, contrast: Contrast) -> str:
    """`rotary − learned` where a contrast is named for its arm, else its own name."""
    named = compares(findings) or not contrast.planned
    return f"{contrast.name} − {findings.plan.experiment.baseline}" if named else contrast.name


def contrast_columns(planned: bool) -> list[str]:
    """Headings of `contrast_row`."""
    adjusted = "p (Holm)" if planned else "q (BH)"
    return [
        "comparison",
        "seeds",
        "difference",
        "95% interval",
        "p",
        adjusted,
        "p (sign flip)",
        "dz",
        "ρ",
        "detectable",
    ]


def contrast_row(findings: Findings, contrast: Contrast) -> list[str]:
    """One comparison."""
    found, places = contrast.paired, decimals(findings.differences)
    return [
        title(findings, contrast),
        str(found.difference.n),
        number(found.difference.mean, places, True),
        ends(found.difference, places),
        p_value(found.p),
        p_value(contrast.adjusted),
        p_value(found.p_flip),
        number(found.dz, 2, True),
        number(found.rho, 2),
        number(found.detectable, places),
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
