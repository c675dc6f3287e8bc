"""The picture for a paper, and its panels for the page."""

import io
from pathlib import Path
from typing import Any

from jaxgpt.lab.findings import Findings
from jaxgpt.lab.report.curves import draw_curves
from jaxgpt.lab.report.forest import draw_forest
from jaxgpt.lab.report.palette import INK, MUTED

STYLE: Any = {
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,
    "svg.hashsalt": "jaxgpt",
}


def save_figure(findings: Findings, folder: Path) -> None:
    """figure.png and figure.pdf: curves and forest side by side, two columns wide (7 inches)."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.9), layout=ConstrainedLayoutEngine(wspace=0.08))
        left, right = figure.subplots(1, 2, width_ratios=(1.12, 1))
        draw_curves(left, findings)
        draw_forest(right, findings)
        figure.savefig(folder / "figure.png", dpi=300, facecolor="white")
        figure.savefig(folder / "figure.pdf", metadata={"CreationDate": None})


def svg(findings: Findings, draw: Any) -> str:
    """One panel as an SVG document on a transparent ground, sized to be read on a phone."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE | {"font.size": 10.5, "axes.labelsize": 10.5, "axes.titlesize": 11}):
        figure = Figure(figsize=(5.0, 3.5), layout="constrained")
        draw(figure.subplots(subplot_kw={"facecolor": "none"}), findings)
        held = io.StringIO()
        figure.savefig(held, format="svg", facecolor="none", metadata={"Date": None})
    return held.getvalue()
