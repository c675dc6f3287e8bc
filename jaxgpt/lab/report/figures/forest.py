"""The forest plot: what each planned comparison found, seed by seed and on the whole."""

from typing import TYPE_CHECKING

from jaxgpt.lab.analysis.findings import Contrast, Findings
from jaxgpt.lab.number_format import decimals, ends, number, with_unit
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.report.escape import for_figure
from jaxgpt.lab.report.figures.rows import draw_row, name_rows
from jaxgpt.plots.palette import GROUND, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_forest(ax: "Axes", findings: Findings) -> None:
    """Draws for each planned comparison the pairs' differences as dots, their mean and its 95% t interval, and zero."""
    experiment = findings.plan.experiment
    of_arm = of_arms(experiment)
    shown = [contrast for contrast in findings.planned if contrast.paired.difference.n > 0]
    colour = {contrast.name: INK if experiment.contrasts else of_arm[contrast.name] for contrast in shown}
    places = decimals(contrast.paired.difference for contrast in shown)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    for row, contrast in enumerate(shown):
        _draw_contrast(ax, row, contrast, colour[contrast.name], places)
    rows = max(len(shown), 1)
    ax.set_ylim(-rows + 0.35 - (0.25 if rows == 1 else 0), 0.65 + (0.25 if rows == 1 else 0))
    names = [contrast.name for contrast in shown]
    name_rows(ax, names, [colour[name] for name in names])
    ax.margins(x=0.12)
    lower = experiment.better == "lower"
    ax.annotate(
        "← better" if lower else "better →",
        (0, 1),
        (-4 if lower else 4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if lower else "left",
        va="top",
        color=MUTED,
        fontsize="small",
    )
    ax.set_xlabel(f"Δ {for_figure(with_unit(experiment.metric))}")
    title = "Planned comparisons" if experiment.contrasts else f"Difference from {experiment.baseline}"
    ax.set_title(f"{title}, 95% interval", loc="right")


def _draw_contrast(ax: "Axes", row: int, contrast: Contrast, colour: str, places: int) -> None:
    difference = contrast.paired.difference
    draw_row(ax, row, contrast.differences, difference, colour)
    text = f"{number(difference.mean, places, True)}  {ends(difference, places) if difference.n > 1 else ''}"
    ax.annotate(
        text,
        (difference.mean, -row),
        (0, 8),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize="small",
        bbox=GROUND,
    )
