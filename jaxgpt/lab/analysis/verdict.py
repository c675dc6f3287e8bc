"""The answer in one sentence: what may be claimed, and no more."""

from jaxgpt.lab.analysis.findings import Contrast, Findings
from jaxgpt.lab.analysis.ladder_verdict import law_verdict
from jaxgpt.lab.number_format import AMOUNTS, decimals, equals_p, interval, listed, number, quantity, span, unit
from jaxgpt.lab.statistics.paired import CLAIM, LEVEL
from jaxgpt.lab.sweep.budget import AS_CONFIGURED

_NOT_SHOWN = "no different as far as shown"
_TOO_FEW = f"left open, having fewer than {CLAIM} pairs"


def verdict(findings: Findings) -> str:
    """One sentence: direction and size with its interval, or that nothing was shown and what could have been. A ladder
    answers with its law."""
    experiment = findings.plan.experiment
    known = [contrast for contrast in findings.planned if contrast.paired.difference.n > 1]
    if experiment.ladder and not experiment.contrasts:
        sentence = law_verdict(findings)
    elif not known:
        what = "contrast has two seeds that finished in all its arms"
        what = what if experiment.contrasts else "arm has two seeds that finished beside the baseline's"
        sentence = f"Nothing can be said: no {what}"
    elif len(findings.planned) == 1:
        sentence = _single(findings, known[0])
    else:
        sentence = _several(findings, known)
    if experiment.ladder and experiment.contrasts:
        sentence = f"{law_verdict(findings)}. {sentence}"
    budget = f"At equal {AMOUNTS[findings.budget]}: " if findings.budget != AS_CONFIGURED else ""
    return f"{budget}{sentence}{_mixed(findings)}{_lost(findings)}."


def shown(contrast: Contrast) -> bool:
    """Whether a difference may be claimed: planned, pairs enough, and p below 5% after Holm's adjustment."""
    return contrast.planned and contrast.claimable and contrast.adjusted < LEVEL


def improves(findings: Findings, contrast: Contrast) -> bool:
    """Whether the mean difference points in the direction the experiment calls better."""
    return (contrast.paired.difference.mean < 0) == (findings.plan.experiment.better == "lower")


def unpaired(findings: Findings, contrast: Contrast) -> int:
    """Seeds that finished in every weighted arm and still do not pair: fused in one, solo in another."""
    finished = [{o.cell.run.seed for o in arm.finished} for arm in findings.arms if contrast.weights.get(arm.name)]
    return len(set.intersection(*finished)) - len(contrast.seeds) if finished else 0


def _single(findings: Findings, contrast: Contrast) -> str:
    experiment, paired = findings.plan.experiment, contrast.paired
    base, n = experiment.baseline, paired.difference.n
    named = bool(experiment.contrasts)
    places = _places(findings)
    evidence = f"{n} paired seeds, {equals_p(paired.p)}"
    if not contrast.claimable:
        return (
            f"Descriptive only, with {n} paired seeds where a claim needs {CLAIM}: "
            f"{contrast.name if named else f'{contrast.name} minus {base}'} is "
            f"{_size(findings, contrast, sign=True)} in {quantity(experiment.metric)} ({_interval(findings, contrast)})"
        )
    if shown(contrast):
        word = "better" if improves(findings, contrast) else "worse"
        near, far = sorted((abs(paired.difference.low), abs(paired.difference.high)))
        side = "lower" if paired.difference.mean < 0 else "higher"
        subject = (
            f"{contrast.name}: {quantity(experiment.metric)} is {side}, which is {word},"
            if named
            else f"{contrast.name} is {word} than {base}: its {quantity(experiment.metric)} is {side}"
        )
        return (
            f"{subject} by {_size(findings, contrast)} (95% interval {number(near, places)} to {number(far, places)}, "
            f"{evidence})"
        )
    detectable = f"a true difference of {number(paired.detectable, places)} would have been found four times in five"
    subject = f"No effect of {contrast.name}" if named else f"No difference between {contrast.name} and {base}"
    return (
        f"{subject} was shown: {_size(findings, contrast, sign=True)} in "
        f"{quantity(experiment.metric)} ({_interval(findings, contrast)}, {evidence}), where {detectable}"
    )


def _several(findings: Findings, known: list[Contrast]) -> str:
    experiment, planned = findings.plan.experiment, findings.planned
    named = bool(experiment.contrasts)
    if not any(contrast.claimable for contrast in known):
        sizes = ", ".join(f"{c.name} {_size(findings, c, sign=True)}" for c in known)
        against = f"in {quantity(experiment.metric)}" if named else f"against {experiment.baseline}"
        return f"Descriptive only, as a claim needs {CLAIM} paired seeds: {against}, {sizes}"
    better, worse = ("lower", "higher") if experiment.better == "lower" else ("higher", "lower")
    words = {"better": f"{better}, which is better", "worse": f"{worse}, which is worse"} if named else {}
    groups: dict[str, list[str]] = {"better": [], "worse": [], _NOT_SHOWN: [], _TOO_FEW: []}
    for contrast in sorted(planned, key=lambda c: c.paired.difference.mean, reverse=experiment.better == "higher"):
        if shown(contrast):
            word = "better" if improves(findings, contrast) else "worse"
            groups[word].append(f"{contrast.name} by {_size(findings, contrast)}")
        else:
            groups[_NOT_SHOWN if contrast.claimable else _TOO_FEW].append(contrast.name)
    parts = [
        f"{listed(arms)} {'is' if len(arms) == 1 else 'are'} {words.get(word, word)}"
        for word, arms in groups.items()
        if arms
    ]
    seeds = span(contrast.paired.difference.n for contrast in planned)
    head = "In" if named else f"Against {experiment.baseline} in"
    return (
        f"{head} {quantity(experiment.metric)}: {'; '.join(parts)} "
        f"({seeds} paired seeds, 5% level after Holm's adjustment over {len(planned)} contrasts)"
    )


def _mixed(findings: Findings) -> str:
    lost = max((unpaired(findings, contrast) for contrast in findings.planned), default=0)
    seeds = f"{lost} seed{'s' if lost > 1 else ''}"
    return f"; {seeds} could not be paired, being fused in one arm and solo in another" if lost else ""


def _lost(findings: Findings) -> str:
    names = ("diverged", "failed", "damaged", "missing")
    counts = {status: sum(o.status == status for o in findings.excluded) for status in names}
    lost = " and ".join(f"{n} {status}" for status, n in counts.items() if n)
    return f"; of {len(findings.outcomes)} runs {lost}" if lost else ""


def _size(findings: Findings, contrast: Contrast, sign: bool = False) -> str:
    difference = contrast.paired.difference
    value = difference.mean if sign else abs(difference.mean)
    return f"{number(value, _places(findings), sign)} {unit(findings.plan.experiment.metric)}".rstrip()


def _interval(findings: Findings, contrast: Contrast) -> str:
    return interval(contrast.paired.difference, _places(findings))


def _places(findings: Findings) -> int:
    return decimals(contrast.paired.difference for contrast in findings.planned)
