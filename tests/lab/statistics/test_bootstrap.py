import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from jaxgpt.lab.statistics.bootstrap import bca
from jaxgpt.lab.statistics.paired import summarise

SKEWED = np.random.default_rng(0).lognormal(size=12)


def test_equal_to_scipy_and_repeatable():
    found = bca(SKEWED, 0.9, 500, 3)
    expected = bootstrap((SKEWED,), np.mean, confidence_level=0.9, n_resamples=500, method="BCa", rng=3)
    assert found == (expected.confidence_interval.low, expected.confidence_interval.high) == bca(SKEWED, 0.9, 500, 3)


def test_leans_to_the_side_of_the_skew():
    low, high = bca(SKEWED)
    assert high - SKEWED.mean() > 1.2 * (SKEWED.mean() - low)
    np.testing.assert_allclose(bca(-SKEWED), (-high, -low), rtol=0.02)


def test_close_to_t_on_many_normal_values():
    values = np.random.default_rng(0).normal(size=400)
    expected = summarise(values)
    assert bca(values) == pytest.approx((expected.low, expected.high), abs=0.1 * expected.half)


def test_none_below_ten_values():
    assert all(math.isnan(end) for end in bca(SKEWED[:9]))
    assert not any(math.isnan(end) for end in bca(SKEWED[:10], draws=100))


def test_no_spread():
    assert bca([0.5] * 10) == (0.5, 0.5)
