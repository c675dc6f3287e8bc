"""The table of a ladder's laws, and of how their exponents differ."""

from jaxgpt.lab.analysis.ladder_series import Series, Steeper
from jaxgpt.lab.analysis.ladder_verdict import raised
from jaxgpt.lab.number_format import NONE, decimals, ends, number, p_value, short
from jaxgpt.lab.statistics.paired import Summary

LAW = "L(x) = E + a·x^(−b), fitted to each seed apart by least squares on log L; intervals are Student t over seeds."
CAUTION = (
    "They hold the noise of seeds alone, neither the choice of sizes nor that of the form, and say nothing beyond the "
    "largest size."
)


def law_columns(series: tuple[Series, ...]) -> list[str]:
    """Headings of `law_row`."""
    floor = ["E", "95% interval"] if any(held.law and held.law.irreducible for held in series) else []
    return ["series", "seeds", "sizes", "power of x", "95% interval", "a", *floor, "largest residual"]


def law_row(series: tuple[Series, ...], held: Series) -> list[str]:
    """One series; without a law the reason stands in place of the power."""
    columns = law_columns(series)
    sizes = f"{len(set(held.x))}: {short(min(held.x))} to {short(max(held.x))}"
    row = [held.name, str(len(held.seeds)), sizes]
    if held.law is None:
        return [*row, held.why, *[NONE] * (len(columns) - len(row) - 1)]
    power, interval = raised(held.law.exponent)
    row += [power, interval or NONE, f"{held.law.a:.3g}"]
    if "E" in columns:
        row += _floor(held.law.irreducible)
    worst = max(abs(residual) for seed in held.law.residuals for residual in seed)
    return [*row, f"{worst:.2%}"]


def apart_columns() -> list[str]:
    """Headings of `apart_row`."""
    return ["exponents", "seeds", "difference", "95% interval", "p", "p (Holm)"]


def apart_row(held: Steeper) -> list[str]:
    """One comparison of two series' exponents, seed by seed."""
    found, places = held.paired.difference, decimals([held.paired.difference])
    figures = [number(found.mean, places, True), ends(found, places), p_value(held.paired.p), p_value(held.adjusted)]
    return [f"{held.name} − {held.reference}", str(found.n), *figures]


def _floor(found: Summary | None) -> list[str]:
    if found is None:
        return [NONE, NONE]
    places = decimals([found])
    return [number(found.mean, places), ends(found, places)]
