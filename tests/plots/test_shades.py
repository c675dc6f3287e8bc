"""The scale of heat maps: even in lightness, in order for every eye, through the palette's own colours."""

import numpy as np
import pytest
from close import assert_close
from matplotlib.colors import to_rgb

from jaxgpt.plots.palette import COSINES, OWN, SEEN
from jaxgpt.plots.shades import oklab, shades


def test_lightness_grows_by_one_step():
    lightness = oklab(shades(65)(np.arange(65))[:, :3])[:, 0]
    steps = np.diff(lightness)
    assert steps.min() > 0 and steps.max() == pytest.approx(steps.min(), rel=0.02)


def test_grey_keeps_the_order():
    rgb = shades()(np.arange(256))[:, :3]
    luminance = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) > 0).all()


def test_it_runs_through_the_palette():
    assert {OWN, SEEN} < set(COSINES)
    held = shades(2048)(np.arange(2048))[:, :3]
    for stop in COSINES:
        assert np.abs(held - to_rgb(stop)).max(-1).min() < 0.01


def test_white_black_and_the_primaries_of_oklab():
    """Table of the post that defines it (Ottosson 2020)."""
    found = oklab(np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]))
    assert_close(found, [[1, 0, 0], [0, 0, 0], [0.628, 0.225, 0.126]], 1e-3)
