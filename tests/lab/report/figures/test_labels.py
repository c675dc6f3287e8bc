"""Names beside points: none covers another, a point or what is taken, however near the points lie."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from jaxgpt.lab.report.figures.labels import name_points

CASES = {
    "apart": {"one": (0.2, 0.2), "two": (0.8, 0.8)},
    "same": dict.fromkeys(("mean", "cls", "cls_before_pooler", "first_last"), (0.5, 0.5)),
    "corners": {"a_long_name_of_an_arm": (0.01, 0.01), "another_long_name": (0.99, 0.99), "third": (0.02, 0.01)},
    "row": {f"arm-{i}": (0.4 + 0.02 * i, 0.5) for i in range(8)},
}


def drawn(points, dots=()):
    """The axes, the text that was there before, and the names."""
    figure = Figure(figsize=(5, 4), layout="constrained")
    ax = figure.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    taken = ax.text(0.02, 0.02, "better", transform=ax.transAxes)
    name_points(ax, points, dict.fromkeys(points, "#0072b2"), dots, [taken])
    figure.draw_without_rendering()
    return ax, taken, {text.get_text(): text for text in ax.texts if text is not taken}


@pytest.mark.parametrize("points", CASES.values(), ids=CASES)
def test_nothing_is_covered_or_cut(points):
    ax, taken, names = drawn(points, [(0.5, 0.53), (0.47, 0.5), (0.3, 0.2)])
    assert list(names) == list(points)
    boxes = [Text.get_window_extent(text) for text in names.values()]  # without the lines that lead to points
    assert not any(a.overlaps(b) for a, b in combinations([*boxes, taken.get_window_extent()], 2))
    marks = ax.transData.transform([*points.values()])
    assert not any(box.contains(*mark) for box in boxes for mark in marks)
    frame = ax.get_window_extent()
    assert all(frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1 for box in boxes)


def test_a_name_gives_way_to_dots():
    for dots in ([], [(0.5, 0.54)], [(0.5, 0.54), (0.5, 0.46)]):
        ax, _, names = drawn({"arm": (0.5, 0.5)}, dots)
        box = Text.get_window_extent(names["arm"])
        assert not any(box.contains(*mark) for mark in ax.transData.transform(dots or [(0.5, 0.5)]))
    assert names["arm"].xyann[0] > 0  # above and below are taken


def test_a_line_leads_to_a_point_whose_name_had_to_step_away():
    *_, names = drawn(CASES["row"])
    far = {name for name, text in names.items() if text.arrow_patch is not None}
    assert far and "arm-0" not in far
    assert all(text.xy == CASES["row"][name] for name, text in names.items())
    assert max(abs(names["arm-0"].xyann[1]), 10) < min(np.hypot(*names[name].xyann) for name in far)


def test_no_points_no_names():
    assert not drawn({})[2]
