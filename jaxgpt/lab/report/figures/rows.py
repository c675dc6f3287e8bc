"""Rows of a picture, one for each arm or comparison: values as dots, their mean, its interval, a name at the left."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from jaxgpt.lab.report.escape import for_figure
from jaxgpt.lab.statistics.paired import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS: Any = {"alpha": 0.45, "markersize": 3.6, "markeredgewidth": 0}


def draw_row(ax: "Axes", row: int, values: Sequence[float], summary: Summary, colour: str) -> None:
    """Draws one value a seed, and above them their mean with its 95% t interval."""
    ax.plot(values, [-row - 0.2] * len(values), "o", color=colour, **_DOTS)
    if summary.n > 1:
        ax.plot([summary.low, summary.high], [-row, -row], color=colour, linewidth=2)
    ax.plot([summary.mean], [-row], "D", color=colour, markersize=5.5, markeredgewidth=0)


def name_rows(ax: "Axes", names: Sequence[str], colours: Sequence[str]) -> None:
    """Writes the name of each row in its colour, where an axis would stand."""
    from matplotlib.ticker import MaxNLocator

    ax.set_yticks([-row for row in range(len(names))], [fill(for_figure(name), 20) for name in names])
    for text, colour in zip(ax.get_yticklabels(), colours, strict=True):
        text.set_color(colour)
        text.set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(4))
