"""A ladder's answer: the law that its loss follows, and whether two series' exponents differ."""

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.analysis.ladder_series import Series, Steeper, series_of, steeper
from jaxgpt.lab.number_format import AMOUNTS, decimals, equals_p, interval, number, quantity, short
from jaxgpt.lab.statistics.paired import CLAIM, LEVEL, Summary


def law_verdict(findings: Findings) -> str:
    """`Validation loss falls as parameters^−0.086 (95% interval −0.092 to −0.080, 6 seeds, 5 sizes from 49k to
    1.8M)`."""
    experiment, series = findings.plan.experiment, series_of(findings)
    fitted = [each for each in series if each.law]
    if not fitted or experiment.ladder is None:
        return f"No law can be fitted: {series[0].why}"
    subject = quantity(experiment.metric)
    axis = AMOUNTS[experiment.ladder.axis]
    if len(series) == 1:
        evidence = f"{_seeds(fitted[0])}, {_sizes(fitted)}"
        sentence = f"{subject} {_law(fitted[0], axis, evidence)}"
    else:
        laws = [f"for {each.name} it {_law(each, axis, _seeds(each))}" for each in fitted]
        sentence = f"{subject} over {_sizes(fitted)}: {' and '.join(laws)}"
    if any(not each.claimable for each in fitted):
        fewest = min(fitted, key=lambda each: len(each.seeds))
        sentence = f"descriptive only, with {_seeds(fewest)} where a claim needs {CLAIM}: {sentence}"
    sentence = sentence[:1].upper() + sentence[1:]
    without = [f"no law for {each.name}: {each.why}" for each in series if not each.law]
    return "; ".join([sentence, *map(_apart, steeper(series)), *without])


def raised(exponent: Summary) -> tuple[str, str]:
    """(the power, its interval), with the sign that it has above x: `−0.086`, `−0.092 to −0.080`."""
    places = decimals([exponent])
    ends = f"{number(-exponent.high, places)} to {number(-exponent.low, places)}" if exponent.n > 1 else ""
    return number(-exponent.mean, places), ends


def _law(series: Series, axis: str, evidence: str) -> str:
    assert series.law is not None
    exponent, floor = series.law.exponent, series.law.irreducible
    power, ends = raised(exponent)
    evidence = f"({f'95% interval {ends}, ' if ends else ''}{evidence})"
    if exponent.n > 1 and exponent.low <= 0 <= exponent.high:
        return f"was not shown to change with {axis}: as {axis}^{power} {evidence}"
    towards = ""
    if floor is not None:
        places = decimals([floor])
        spread = f" ({number(floor.low, places)} to {number(floor.high, places)})" if floor.n > 1 else ""
        towards = f" towards {number(floor.mean, places)}{spread}"
    return f"{'falls' if exponent.mean > 0 else 'rises'}{towards} as {axis}^{power} {evidence}"


def _seeds(series: Series) -> str:
    return f"{len(series.seeds)} seed{'s' if len(series.seeds) > 1 else ''}"


def _sizes(series: list[Series]) -> str:
    sizes = {x for each in series for x in each.x}
    return f"{len(sizes)} sizes from {short(min(sizes))} to {short(max(sizes))}"


def _apart(pair: Steeper) -> str:
    difference = pair.paired.difference
    places = decimals([difference])
    if difference.n < CLAIM:
        return f"whether the exponents of {pair.name} and {pair.reference} differ is left open"
    evidence = f"({interval(difference, places)}, {difference.n} paired seeds, {equals_p(pair.adjusted)})"
    if pair.adjusted < LEVEL:
        word = "steeper" if difference.mean > 0 else "flatter"
        by = number(abs(difference.mean), places)
        return f"{pair.name} is {word} than {pair.reference} by {by} in the exponent {evidence}"
    return f"no difference between the exponents of {pair.name} and {pair.reference} was shown {evidence}"
