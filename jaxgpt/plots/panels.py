"""The panels of a picture of attention patterns: the matrix, the row as one query sees it, and the legend of both."""

import math
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxgpt.ops.patterns import Pattern
from jaxgpt.plots.palette import MUTED, OWN, PAGE, SEEN, UNSEEN
from jaxgpt.plots.views import View, folded, matrix, own, row_width, tint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELLS = 128
"""Cells along a matrix at most; a longer row is shaded by the share of pairs that a cell keeps."""
SMALL, LINE = 7.5, 0.145
"""Size of the small print in points, and the distance of its lines in inches."""
_TICKS = (0.01, 0.1, 0.25, 0.5, 1)


class Scale(NamedTuple):
    """How a row of `length` is drawn."""

    length: int
    cell: int
    """Positions to a cell of the matrix."""
    width: int
    """Keys to a row of the folded picture."""
    query: int
    """The one that looks there."""


def scale_of(shown: Sequence[View], length: int) -> Scale:
    """The scale that all panels share. The query is late, and in the middle of a folded row: both its sides show."""
    width = row_width(shown, length)
    late = round(0.7 * length / width) * width + width // 2
    return Scale(length, math.ceil(length / CELLS), width, min(late, length - 1))


def draw_matrix(ax: "Axes", pattern: Pattern, scale: Scale, first: bool) -> None:
    """Rows are queries, columns keys; the folded picture's query is marked. `first`: the axis of queries is named."""
    image, end = matrix(pattern, scale.length, scale.cell), scale.length
    ax.imshow(image, extent=(0, len(image) * scale.cell, len(image) * scale.cell, 0), interpolation="nearest")
    ax.set(xlim=(0, end), ylim=(end, 0))  # cuts the last cells to what they hold
    if scale.cell > 1:
        ax.plot([0, end], [0, end], color=tuple(own(pattern, np.arange(end)).mean(0)), linewidth=0.6)
    ax.set_yticks([scale.query + 0.5], [f"{scale.query:,}"], fontsize=7)
    ax.tick_params(length=2, pad=1.5)
    name: Any = {"fontsize": SMALL, "color": MUTED, "transform": ax.transAxes}
    ax.text(0.5, -0.03, "keys", ha="center", va="top", **name)
    if first:
        ax.text(-0.04, 0.5, "queries", ha="right", va="center", rotation=90, **name)


def draw_folded(ax: "Axes", pattern: Pattern, scale: Scale, pixels: float) -> None:
    """The row in lines of `scale.width` keys, as `scale.query` sees them; `pixels` to a side."""
    image = folded(pattern, scale.length, scale.width, scale.query)
    rows, columns = image.shape[:2]
    crisp = max(rows, columns) <= pixels  # finer cells are averaged, lest one be lost between two pixels
    ax.imshow(image, aspect="auto", interpolation="nearest" if crisp else "auto")
    if max(rows, columns) <= 16:
        ax.vlines(np.arange(1, columns) - 0.5, -0.5, rows - 0.5, color=PAGE, linewidth=0.6)
        ax.hlines(np.arange(1, rows) - 0.5, -0.5, columns - 0.5, color=PAGE, linewidth=0.6)
    else:  # too small a cell to be found
        y, x = divmod(scale.query, scale.width)
        ax.plot(x, y, "o", color=tuple(own(pattern, scale.query)), markersize=3.6, mec=PAGE, mew=0.5)


def write(ax: "Axes", lines: list[str], **style: Any) -> None:
    """Lines of small print down from the origin of an axes of one inch."""
    for index, line in enumerate(lines):
        ax.text(0, -index * LINE, line, fontsize=SMALL, va="top", **style)


def draw_legend(
    axes: Callable[..., "Axes"], left: float, top: float, letters: int, shown: Sequence[View], scale: Scale
) -> None:
    """What the colours and the pictures are, below `top`; `letters` to a line."""
    from matplotlib.patches import Patch

    entries: dict[str, Any] = {"own position": OWN, "seen": SEEN, "not seen": UNSEEN}
    places = np.arange(scale.length)
    for view in shown:
        blind = places[~np.asarray(view.pattern.allows(places, places), bool)]
        if blind.size:
            entries["own, not seen"] = tuple(own(view.pattern, blind[0]))
    look: Any = {"handlelength": 0.9, "handleheight": 0.9, "handletextpad": 0.5, "columnspacing": 1.6, "fontsize": 8}
    handles = [Patch(color=colour, label=name) for name, colour in entries.items()]
    corner: Any = {"loc": "upper left", "bbox_to_anchor": (0, 0), "borderpad": 0, "borderaxespad": 0}
    axes(left, top, 1, 1).legend(handles=handles, ncols=4, frameon=False, **corner, **look)
    if scale.cell > 1:
        ax = axes(left, top - 0.36, 1.5, 0.11)
        ax.imshow(tint(np.linspace(0, 1, 256) ** 2)[None], aspect="auto", extent=(0, 1, 0, 1))
        ax.set_xticks([math.sqrt(share) for share in _TICKS], [f"{share:.0%}" for share in _TICKS], fontsize=7)
        ax.tick_params(length=2, pad=1.5)
        ax.text(1.08, 0.5, f"seen of a cell's {scale.cell} × {scale.cell} pairs", fontsize=8, va="center")
        top -= 0.36
    small = f"Small: the {scale.length:,} keys in rows of {scale.width}, as query {scale.query:,} sees them."
    lines = wrap(f"{small} Large: rows are queries, columns are keys.", letters)
    write(axes(left, top - 0.25, 1, 1), lines, color=MUTED)
