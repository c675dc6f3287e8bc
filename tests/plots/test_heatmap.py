"""One map: every cosine in its place, one scale for all maps, the pairs framed, what is no number crossed."""

import matplotlib.figure
import numpy as np
import pytest

from jaxgpt.evals.heat import Heat
from jaxgpt.plots.heatmap import draw_map, mark_scores


def heat_of(cosines, scores=None):
    count = len(cosines)
    first, second = (tuple(f"{side}{i}" for i in range(count)) for side in "ab")
    return Heat(first, second, np.linspace(5, 0, count) if scores is None else scores, np.array(cosines, float))


def drawn(cosines):
    ax = matplotlib.figure.Figure().subplots()
    return ax, draw_map(ax, heat_of(cosines), 10)


def test_rows_are_first_texts_from_the_top():
    cosines = [[0.9, 0.1, -0.2], [0.3, 0.5, 0.0], [0.2, 0.4, 0.6]]
    ax, image = drawn(cosines)
    np.testing.assert_array_equal(image.get_array(), cosines)
    assert ax.get_ylim() == (2.5, -0.5) and ax.get_xlim() == (-0.5, 2.5) and image.origin == "upper"


@pytest.mark.parametrize("cosines", [[[0.5]], [[0.01, 0.02], [0.0, 0.01]], [[1.0, 1.0], [1.0, 1.0]]])
def test_the_scale_is_the_same_whatever_a_map_holds(cosines):
    _, image = drawn(cosines)
    assert image.get_clim() == (0, 1)


def test_below_zero_is_as_dark_as_zero():
    _, image = drawn([[-1.0, 0.0], [0.0, 1.0]])
    colours = image.to_rgba(image.get_array())
    assert (colours[0, 0] == colours[0, 1]).all() and (colours[1, 1] != colours[0, 0]).any()


def test_frames_keep_within_the_cells_of_pairs():
    ax, _ = drawn(np.eye(3))
    for line in ax.get_lines():
        corners = np.array(line.get_data()).T.reshape(3, 6, 2)[:, :5]
        for place, frame in enumerate(corners):
            assert (np.abs(frame - place) < 0.5).all() and (frame.max(0) - frame.min(0) > 0.6).all()


def test_what_is_no_number_is_crossed_and_bare():
    cosines = np.full((3, 3), 0.5)
    cosines[0, 2] = cosines[1, 1] = np.nan
    ax, image = drawn(cosines)
    (crosses,) = (line for line in ax.get_lines() if line.get_marker() == "x")
    assert list(zip(*crosses.get_data(), strict=True)) == [(2, 0), (1, 1)]
    assert image.to_rgba(image.get_array())[0, 2, 3] == 0
    assert not [line for line in drawn(np.eye(2))[0].get_lines() if line.get_marker() == "x"]


def test_the_ends_bear_their_scores():
    ax = matplotlib.figure.Figure().subplots()
    mark_scores(ax, heat_of(np.eye(16), np.linspace(5, 0.25, 16)))
    assert [text.get_text() for text in ax.get_yticklabels()][:: len(ax.get_yticks()) - 1] == ["5", "0.25"]
    assert (ax.get_yticks()[0], ax.get_yticks()[-1]) == (0, 15)
    mark_scores(ax, heat_of([[1.0]]))
    assert list(ax.get_yticks()) == [0]
