"""The picture for a paper, and its panels for the page."""

import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.number_format import quantity
from jaxgpt.lab.report.figures.alignment_uniformity import draw_sphere, measured
from jaxgpt.lab.report.figures.curves import draw_curves
from jaxgpt.lab.report.figures.forest import draw_forest
from jaxgpt.lab.report.figures.ladder import draw_ladder
from jaxgpt.lab.report.figures.last_values import draw_last_values, has_curves
from jaxgpt.lab.report.figures.similarity_by_arm import by_arm, draw_heat, height
from jaxgpt.plots.look import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Panel(NamedTuple):
    """One picture of the report."""

    name: str
    label: str
    """What it shows, for who cannot see it."""
    draw: Callable[["Axes", Findings], None]
    height: float
    """Inches that it needs at a width of 5, without which its rows would touch."""
    share: float = 1.0
    """Of the width, where panels stand side by side."""
    shrink: float = 0.85
    """What of its height it needs there, where letters are smaller."""


def panels(findings: Findings) -> list[Panel]:
    """The law for a ladder, the curves (or where there are none, what runs ended at), the planned comparisons where
    there are some, and vectors and heat maps where they are measured."""
    experiment, metric = findings.plan.experiment, quantity(findings.plan.experiment.metric)
    ladder = Panel("ladder", f"{metric} against size, with the fitted power law", draw_ladder, 3.5)
    curves = Panel("curves", f"Learning curves of {metric}, one for each arm", draw_curves, 3.5)
    if not has_curves(findings):
        high = max(3.5, 1.1 + 0.42 * len(findings.arms))
        curves = Panel("curves", f"What the runs of each arm ended at in {metric}", draw_last_values, high)
    rows = 1.1 + 0.42 * len(findings.planned)
    forest = Panel("forest", f"Paired differences in {metric} with 95% intervals", draw_forest, max(3.5, rows))
    compared = experiment.contrasts or not experiment.ladder
    heats = len(by_arm(findings))
    words = "Heat maps of the cosines of scored pairs of texts, one for each arm, the pairs on the diagonal"
    heat = Panel("heat", words, draw_heat, height(heats), *((1.0, 0.72) if heats <= 4 else (1.5, 0.85)))
    beside = min(heat.height, 5.0) if heats else 3.5
    sphere = Panel("sphere", "Alignment against uniformity, a dot for each run", draw_sphere, beside, shrink=0.72)
    return [
        *([ladder] if experiment.ladder else []),
        curves,
        *([forest] if compared else []),
        *([sphere] if measured(findings) else []),
        *([heat] if heats else []),
    ]


def save_figure(findings: Findings, folder: Path) -> None:
    """figure.png and figure.pdf: up to three panels side by side, two of them two columns wide (7 inches); more of them
    in two rows."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    shown = panels(findings)
    across = len(shown) if len(shown) <= 3 else math.ceil(len(shown) / 2)
    rows = [shown[:across], shown[across:]] if shown[across:] else [shown]
    high = [max(2.9, *(panel.shrink * panel.height for panel in row)) for row in rows]
    with matplotlib.rc_context(STYLE), _quiet():
        figure = Figure(figsize=(3.6 * across, sum(high)), layout=ConstrainedLayoutEngine(wspace=0.08))
        bands = figure.add_gridspec(len(rows), 1, height_ratios=high)
        for index, row in enumerate(rows):
            shares = [1.12 * row[0].share, *(panel.share for panel in row[1:])]
            places = bands[index].subgridspec(1, len(row), width_ratios=shares)
            for column, panel in enumerate(row):
                panel.draw(figure.add_subplot(places[column]), findings)
        figure.savefig(folder / "figure.png", dpi=300, facecolor="white")
        figure.savefig(folder / "figure.pdf", metadata={"CreationDate": None})


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps matplotlib from warning of letters that the font lacks and of names too long: the tables have every one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def svg(findings: Findings, panel: Panel) -> str:
    """One panel as an SVG document on a transparent ground, sized to be read on a phone."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE | {"font.size": 10.5, "axes.labelsize": 10.5, "axes.titlesize": 11}), _quiet():
        figure = Figure(figsize=(5.0, panel.height), layout="constrained")
        panel.draw(figure.subplots(subplot_kw={"facecolor": "none"}), findings)
        return document(figure)


def document(figure: "Figure") -> str:
    """A matplotlib figure as an SVG document."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    return buffer.getvalue()
