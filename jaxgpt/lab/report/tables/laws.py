"""The table of a ladder's laws, and of how their exponents differ."""

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.analysis.ladder_series import Series, Steeper, series_of, steeper
from jaxgpt.lab.analysis.ladder_verdict import raised
from jaxgpt.lab.number_format import NONE, decimals, ends, number, p_value, short
from jaxgpt.lab.report.tables.table import Table
from jaxgpt.lab.statistics.paired import Summary

LAW = "L(x) = E + a·x^(−b), fitted to each seed apart by least squares on log L; intervals are Student t over seeds."
CAUTION = (
    "They hold the noise of seeds alone, neither the choice of sizes nor that of the form, and say nothing beyond the "
    "largest size."
)


def law_tables(findings: Findings) -> list[Table]:
    """The law of each series; and, where there are several laws, how their exponents differ. None without a ladder."""
    series = series_of(findings)
    if not series:
        return []
    floor = ["E", "95% interval"] if any(each.law and each.law.irreducible for each in series) else []
    columns = ["series", "seeds", "sizes", "power of x", "95% interval", "a", *floor, "largest residual"]
    tables = [Table(columns, [_law(each, bool(floor), len(columns)) for each in series])]
    if differ := steeper(series):
        columns = ["exponents", "seeds", "difference", "95% interval", "p", "p (Holm)"]
        tables.append(Table(columns, [_apart(pair) for pair in differ]))
    return tables


def _law(series: Series, floor: bool, width: int) -> list[str]:
    """Without a law the reason stands in place of the power."""
    sizes = f"{len(set(series.x))}: {short(min(series.x))} to {short(max(series.x))}"
    row = [series.name, str(len(series.seeds)), sizes]
    if series.law is None:
        return [*row, series.why, *[NONE] * (width - len(row) - 1)]
    power, interval = raised(series.law.exponent)
    row += [power, interval or NONE, f"{series.law.a:.3g}"]
    if floor:
        row += _floor(series.law.irreducible)
    worst = max(abs(residual) for seed in series.law.residuals for residual in seed)
    return [*row, f"{worst:.2%}"]


def _apart(pair: Steeper) -> list[str]:
    """Two series' exponents, seed by seed."""
    difference, places = pair.paired.difference, decimals([pair.paired.difference])
    figures = [number(difference.mean, places, True), ends(difference, places)]
    figures += [p_value(pair.paired.p), p_value(pair.adjusted)]
    return [f"{pair.name} − {pair.reference}", str(difference.n), *figures]


def _floor(floor: Summary | None) -> list[str]:
    if floor is None:
        return [NONE, NONE]
    places = decimals([floor])
    return [number(floor.mean, places), ends(floor, places)]
