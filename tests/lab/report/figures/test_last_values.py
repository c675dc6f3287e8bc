"""Runs that were measured once or twice get a picture of what they ended at instead of curves."""

from dataclasses import replace

import matplotlib.figure
import pytest

from jaxgpt.lab.report.figures.figure import panels, svg
from jaxgpt.lab.report.figures.last_values import draw_last_values


@pytest.fixture
def ended(swept):
    arms = tuple(
        replace(arm, outcomes=tuple(replace(one, curve=one.curve[-2:]) for one in arm.outcomes)) for arm in swept.arms
    )
    return replace(swept, arms=arms)


def test_every_run_is_a_dot_and_every_arm_has_its_mean(ended):
    ax = matplotlib.figure.Figure().subplots()
    draw_last_values(ax, ended)
    lines = [line.get_xdata().tolist() for line in ax.get_lines()]
    for arm in ended.arms:
        assert [outcome.value for outcome in arm.finished] in lines and [arm.summary.mean] in lines
    assert [text.get_text() for text in ax.get_yticklabels()] == [arm.name for arm in ended.arms]


def test_it_takes_the_place_of_curves_where_there_are_none(swept, ended):
    several, one = ([panel.label for panel in panels(found) if panel.name == "curves"] for found in (swept, ended))
    assert several[0].startswith("Learning curves") and one[0].startswith("What the runs of each arm ended at")
    assert "svg" in svg(ended, next(p for p in panels(ended) if p.name == "curves"))
