"""Names beside points, so that none covers another, or a point."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgpt.lab.report.escape import for_figure
from jaxgpt.plots.palette import GROUND

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

_AROUND = (
    *((0, 1), (0, -1), (1, 0), (-1, 0)),
    *((x, y) for x in (1, -1, 0.5, -0.5) for y in (1, -1)),
    *((x, y) for x in (1, -1) for y in (0.5, -0.5)),
)
"""Where the middle of a name may stand, on a frame about its point; the frame grows ring by ring."""
_AWAY, _GAP, _RINGS = 6.0, 3.5, 12
"""Points from a name's edge to its point, and from name to name."""
_COVERS, _HIDES, _CROSSES, _HIDES_DOT = 100, 30, 10, 4
"""What a place costs, in rings: it leaves the axes or covers a name, hides a point, its line crosses one of these, it
hides a dot."""

Point = tuple[float, float]


def name_points(
    ax: "Axes",
    points: Mapping[str, Point],
    colour: Mapping[str, str],
    dots: Sequence[Point] = (),
    taken: Sequence["Text"] = (),
) -> None:
    """Writes each name above, below or beside its point, all in the data's coordinates; where that would cover one of
    `points` and `dots`, a text of `taken` or an earlier name, further off, with a line that leads to the point."""
    from matplotlib.path import Path

    figure: Figure = ax.figure  # type: ignore[assignment]
    style: Any = {"ha": "center", "va": "center", "fontweight": "bold", "fontsize": "small"}
    drafts = [ax.text(*at, for_figure(name), **style) for name, at in points.items()]
    for draft in drafts:
        draft.set_in_layout(False)
    figure.draw_without_rendering()  # sizes and places are known from here on
    unit = figure.dpi / 72
    frame = ax.get_window_extent().padded(-3 * unit)
    marks, specks = _marks(ax, list(points.values()), 4 * unit), _marks(ax, dots, 2 * unit)
    words, lines = [text.get_window_extent() for text in taken], list[Path]()
    for draft, (name, at) in zip(drafts, points.items(), strict=True):
        middle, start = draft.get_window_extent(), ax.transData.transform(at)
        draft.remove()
        others = [mark for mark in marks if not mark.contains(*start)]
        ways = []
        for across, up, ring in _offsets(middle.width / unit, middle.height / unit):
            shift = np.array([across, up]) * unit
            box, line = middle.translated(*shift), Path([start, start + shift])
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            ground = box.padded(_GAP / 2 * unit)
            cost = ring + _COVERS * (outside + _overlaps(ground, words))
            cost += _HIDES * _overlaps(ground, marks) + _HIDES_DOT * _overlaps(ground, specks)
            crossed = sum(line.intersects_bbox(other) for other in words + others)
            cost += _CROSSES * (crossed + sum(other.intersects_bbox(box) for other in lines))
            ways.append((cost, (across, up), ring, box, line))
        _, offset, ring, box, line = min(ways, key=lambda way: way[0])
        words.append(box)
        tie: Any = {"arrowstyle": "-", "color": colour[name], "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        if ring:
            lines.append(line)
        style |= {"color": colour[name], "arrowprops": tie if ring else None}
        ax.annotate(for_figure(name), at, offset, textcoords="offset points", bbox=GROUND, **style)


def _marks(ax: "Axes", places: Sequence[Point], reach: float) -> list["Bbox"]:
    """Squares about points, in pixels."""
    from matplotlib.transforms import Bbox

    middles = ax.transData.transform(places) if places else ()
    return [Bbox([(x - reach, y - reach), (x + reach, y + reach)]) for x, y in middles]


def _overlaps(box: "Bbox", others: Sequence["Bbox"]) -> int:
    return sum(map(box.overlaps, others))


def _offsets(wide: float, high: float) -> Iterator[tuple[float, float, int]]:
    """Ways from a point to the middle of a name of this size, in points, nearest first, with the ring."""
    for ring in range(_RINGS):
        away = _AWAY + ring * (high + _GAP)
        for across, up in _AROUND:
            yield across * (wide / 2 + away), up * (high / 2 + away), ring
