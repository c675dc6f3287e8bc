"""The heat map of one model: cosines of scored pairs, each first text with each second one."""

import re
from typing import TYPE_CHECKING

import numpy as np

from jaxgpt.plots.palette import COSINES, MUTED, RULE
from jaxgpt.plots.shades import shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.image import AxesImage

    from jaxgpt.evals.heat import Heat


def draw_map(ax: "Axes", heat: "Heat", cell: float) -> "AxesImage":
    """Rows are first texts, columns second ones, from the highest score to the lowest, so that the framed diagonal
    fades where a model agrees with people, and all else is dark. `cell` is a cell's side in points.

    Every map has one scale from 0 to 1, whatever it holds, lest noise look like a finding; below 0 is as dark as 0. A
    cosine that is not a number is a cross.
    """
    cosines, index = heat.cosines, np.arange(len(heat.cosines))
    image = ax.imshow(cosines, cmap=shades(), vmin=0, vmax=1, interpolation="none")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set(visible=True, color=RULE)
    half = 0.5 - min(0.12, 0.9 / cell)
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half), (np.nan, np.nan)])
    x, y = (index[:, None, None] + corners).reshape(-1, 2).T
    for tone, width in ((COSINES[0], 2.0), (COSINES[-1], 1.0)):  # one of them stands out from any cell
        ax.plot(x, y, color=tone, linewidth=width * min(1, 0.07 * cell), solid_joinstyle="miter")
    rows, columns = np.nonzero(np.isnan(cosines))
    if rows.size:
        ax.plot(columns, rows, "x", color=MUTED, markersize=0.4 * cell, markeredgewidth=min(0.8, 0.1 * cell))
    ax.set(xlim=(-0.5, len(index) - 0.5), ylim=(len(index) - 0.5, -0.5))
    return image


def mark_scores(ax: "Axes", heat: "Heat") -> None:
    """Marks some rows of a map with what people gave them."""
    rows = np.linspace(0, len(heat.scores) - 1, min(len(heat.scores), 4)).round().astype(int)
    ax.set_yticks(rows, [f"{heat.scores[row]:.3g}" for row in rows])
    ax.tick_params(axis="y", length=2, labelsize="small")


def style_colour_bar(bar: "Colorbar") -> None:
    """The look of a colour bar."""
    bar.set_ticks([0, 0.5, 1])
    bar.ax.tick_params(length=2, labelsize="small")
    bar.outline.set_visible(False)  # type: ignore[operator]


def fold(name: str, letters: int) -> str:
    """A long name in lines, cut behind what joins its parts."""
    lines = [""]
    for piece in re.findall(r"[^-_+/]+[-_+/]*|[-_+/]+", name):
        if lines[-1] and len(lines[-1] + piece) > letters:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)
