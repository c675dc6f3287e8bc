"""The answer in one sentence: what may be claimed, and no more."""

from jaxgpt.lab.findings import Contrast, Findings
from jaxgpt.lab.format import decimals, number, p_value, quantity, unit
from jaxgpt.lab.stats import CLAIM

LEVEL = 0.05
_NOT_SHOWN = "no different as far as shown"
_TOO_FEW = f"left open, having fewer than {CLAIM} pairs"


def verdict(findings: Findings) -> str:
    """One sentence: direction and size with its interval, or that nothing was shown and what could have been."""
    known = [contrast for contrast in findings.contrasts if contrast.paired.difference.n > 1]
    if not known:
        sentence = "Nothing can be said: no arm has two seeds that finished beside the baseline's"
    elif len(findings.contrasts) == 1:
        sentence = _single(findings, known[0])
    else:
        sentence = _several(findings, known)
    counts = {
        status: sum(o.status == status for o in findings.excluded) for status in ("diverged", "failed", "missing")
    }
    lost = " and ".join(f"{n} {status}" for status, n in counts.items() if n)
    return f"{sentence}; of {len(findings.outcomes)} runs {lost}." if lost else f"{sentence}."


def shown(contrast: Contrast) -> bool:
    """Whether a difference may be claimed: pairs enough, and p below 5% after Holm's adjustment."""
    return contrast.claimable and contrast.adjusted < LEVEL


def improves(findings: Findings, contrast: Contrast) -> bool:
    """Whether the mean difference points in the direction the experiment calls better."""
    return (contrast.paired.difference.mean < 0) == (findings.plan.experiment.better == "lower")


def _single(findings: Findings, contrast: Contrast) -> str:
    experiment, found = findings.plan.experiment, contrast.paired
    base, n = experiment.baseline, found.difference.n
    places = decimals(findings.differences)
    evidence = f"{n} paired seeds, p {_equals(found.p)}"
    if not contrast.claimable:
        return (
            f"Descriptive only, with {n} paired seeds where a claim needs {CLAIM}: {contrast.name} minus {base} is "
            f"{_size(findings, contrast, sign=True)} in {quantity(experiment.metric)} ({_interval(findings, contrast)})"
        )
    if shown(contrast):
        word = "better" if improves(findings, contrast) else "worse"
        near, far = sorted((abs(found.difference.low), abs(found.difference.high)))
        side = "lower" if found.difference.mean < 0 else "higher"
        return (
            f"{contrast.name} is {word} than {base}: its {quantity(experiment.metric)} is {side} by "
            f"{_size(findings, contrast)} (95% interval {number(near, places)} to {number(far, places)}, {evidence})"
        )
    detectable = f"a true difference of {number(found.detectable, places)} would have been found four times in five"
    return (
        f"No difference between {contrast.name} and {base} was shown: {_size(findings, contrast, sign=True)} in "
        f"{quantity(experiment.metric)} ({_interval(findings, contrast)}, {evidence}), where {detectable}"
    )


def _several(findings: Findings, known: list[Contrast]) -> str:
    experiment = findings.plan.experiment
    if not any(contrast.claimable for contrast in known):
        listed = ", ".join(f"{c.name} {_size(findings, c, sign=True)}" for c in known)
        return f"Descriptive only, as a claim needs {CLAIM} paired seeds: against {experiment.baseline}, {listed}"
    groups: dict[str, list[str]] = {"better": [], "worse": [], _NOT_SHOWN: [], _TOO_FEW: []}
    for contrast in sorted(
        findings.contrasts, key=lambda c: c.paired.difference.mean, reverse=experiment.better == "higher"
    ):
        if shown(contrast):
            word = "better" if improves(findings, contrast) else "worse"
            groups[word].append(f"{contrast.name} by {_size(findings, contrast)}")
        else:
            groups[_NOT_SHOWN if contrast.claimable else _TOO_FEW].append(contrast.name)
    parts = [f"{_and(arms)} {'is' if len(arms) == 1 else 'are'} {word}" for word, arms in groups.items() if arms]
    pairs = sorted({contrast.paired.difference.n for contrast in findings.contrasts})
    seeds = f"{pairs[0]} to {pairs[-1]}" if len(pairs) > 1 else str(pairs[0])
    return (
        f"Against {experiment.baseline} in {quantity(experiment.metric)}: {'; '.join(parts)} "
        f"({seeds} paired seeds, 5% level after Holm's adjustment over {len(findings.contrasts)} contrasts)"
    )


def _size(findings: Findings, contrast: Contrast, sign: bool = False) -> str:
    difference = contrast.paired.difference
    value = difference.mean if sign else abs(difference.mean)
    return f"{number(value, decimals(findings.differences), sign)} {unit(findings.plan.experiment.metric)}".rstrip()


def _interval(findings: Findings, contrast: Contrast) -> str:
    difference = contrast.paired.difference
    places = decimals(findings.differences)
    return f"95% interval {number(difference.low, places, True)} to {number(difference.high, places, True)}"


def _equals(p: float) -> str:
    return p_value(p) if p < 1e-4 else f"= {p_value(p)}"


def _and(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
