"""The ladder's picture: loss against size, both on a logarithmic scale, with each series' law."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.analysis.ladder_series import WORDS, Series, series_of
from jaxgpt.lab.analysis.ladder_verdict import raised
from jaxgpt.lab.number_format import short, with_unit
from jaxgpt.lab.report.escape import for_figure
from jaxgpt.plots.palette import of_series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_APART = 0.11
"""Share of the axis that a size's label needs."""


def draw_ladder(ax: "Axes", findings: Findings) -> None:
    """Dots for the seeds, diamonds for their geometric mean, the law as a line with the 95% band of its mean."""
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter

    experiment, series = findings.plan.experiment, series_of(findings)
    colour = of_series([each.name for each in series])
    ax.set_xscale("log")
    ax.set_yscale("log")
    drawn = [each for each in series if each.losses and np.isfinite(each.x).all()]
    for each in drawn:
        _draw_series(ax, each, colour[each.name])
    ax.set_xlabel(WORDS[experiment.ladder.axis] if experiment.ladder else "")
    ax.set_ylabel(for_figure(with_unit(experiment.metric)))
    ax.set_title("Loss against size, 95% band of the law")
    if not drawn:
        return
    sizes = _spread(sorted({x for each in drawn for x in each.x}))
    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_major_formatter(lambda x, _: short(x))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(FixedLocator(list(MaxNLocator(6).tick_values(*ax.get_ylim()))))
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_locator(NullLocator())
    low, high = ax.get_ylim()
    ax.set_ylim(low / (high / low) ** (0.1 * (len(drawn) + 1)), high)  # room for the legend below a falling line
    falls = all(each.law is None or each.law.exponent.mean > 0 for each in drawn)
    look: Any = {"frameon": False, "handlelength": 1.4, "borderpad": 0.2, "fontsize": "small", "alignment": "left"}
    title: Any = {"title": "power of x [95% interval]", "title_fontsize": "small"}
    ax.legend(loc="lower left" if falls else "lower right", **look, **title)


def _draw_series(ax: "Axes", series: Series, colour: str) -> None:
    for row in series.losses:
        ax.plot(series.x, row, "o", color=colour, alpha=0.4, markersize=3.2, markeredgewidth=0)
    means = np.exp(np.mean(np.log(series.losses), axis=0))
    if series.law is None:
        ax.plot(series.x, means, "D", color=colour, markersize=4.5, markeredgewidth=0, label=for_figure(series.name))
        return
    ax.plot(series.x, means, "D", color=colour, markersize=4.5, markeredgewidth=0)
    grid = np.geomspace(min(series.x) / 1.15, max(series.x) * 1.15, 60)
    curve = [series.law.predict(x) for x in grid]
    if len(series.seeds) > 1:
        ax.fill_between(grid, [c.low for c in curve], [c.high for c in curve], color=colour, alpha=0.18, linewidth=0)
    power, interval = raised(series.law.exponent)
    label = f"{series.name}  {power}" + (f" [{interval}]" if interval else "")
    ax.plot(grid, [c.mean for c in curve], color=colour, linewidth=1.5, label=for_figure(label))


def _spread(sizes: list[float]) -> list[float]:
    """The sizes whose labels do not touch, chosen from the ends inwards."""
    at = np.log(sizes)
    places = (at - at[0]) / max(at[-1] - at[0], 1e-9)
    chosen = [0, len(sizes) - 1] if len(sizes) > 1 else [0]
    for i in range(1, len(sizes) - 1):
        if all(abs(places[i] - places[j]) >= _APART for j in chosen):
            chosen.append(i)
    return [sizes[i] for i in sorted(chosen)]
