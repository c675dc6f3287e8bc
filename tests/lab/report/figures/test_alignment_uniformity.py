"""The picture of alignment and uniformity: there where runs measured them, a dot for each."""

from dataclasses import replace

import matplotlib.figure
import pytest

from jaxgpt.lab.report.figures.alignment_uniformity import draw_sphere, measured
from jaxgpt.lab.report.figures.figure import panels, svg


@pytest.fixture
def spread(swept):
    """The sweep as if its runs had measured their vectors, but for the last arm."""

    def vectors(arm, base):
        outcomes = tuple(
            replace(one, result={**one.result, "val/alignment": base + 0.1 * i, "val/uniformity": -2 - base - 0.1 * i})
            for i, one in enumerate(arm.outcomes)
        )
        return replace(arm, outcomes=outcomes)

    *first, last = swept.arms
    return replace(swept, arms=(*(vectors(arm, float(i)) for i, arm in enumerate(first)), last))


def test_only_where_measured(swept, spread):
    assert "sphere" not in [panel.name for panel in panels(swept)]
    assert list(measured(spread)) == [arm.name for arm in spread.arms[:-1]]
    panel = next(panel for panel in panels(spread) if panel.name == "sphere")
    assert spread.arms[0].name in svg(spread, panel)


def test_a_dot_for_each_run(spread):
    ax = matplotlib.figure.Figure().subplots()
    draw_sphere(ax, spread)
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert len(dots) == len(measured(spread))
    for line, outcomes in zip(dots, measured(spread).values(), strict=True):
        assert line.get_ydata().tolist() == [one.result["val/alignment"] for one in outcomes]
        assert line.get_xdata().tolist() == [one.result["val/uniformity"] for one in outcomes]
