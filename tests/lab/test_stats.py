import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxgpt.lab.stats import compare, holm, sign_flip, summarise

RNG = np.random.default_rng(0)
BASE = RNG.normal(3.3, 0.02, size=8)
ARM = BASE - 0.01 + RNG.normal(0, 0.01, size=8)


def test_paired_interval_and_p_equal_scipy():
    found, expected = compare(ARM, BASE), scipy_stats.ttest_rel(ARM, BASE)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.rho == pytest.approx(scipy_stats.pearsonr(ARM, BASE).statistic)
    assert found.dz == pytest.approx(np.mean(ARM - BASE) / np.std(ARM - BASE, ddof=1))


def test_summary_equals_scipy():
    found = summarise(BASE.tolist())
    low, high = scipy_stats.t.interval(0.95, len(BASE) - 1, loc=BASE.mean(), scale=scipy_stats.sem(BASE))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_sign_flip_by_hand():
    # Sums of ±1 ±2 ±4: only +7 and -7 are as far from zero as 7; 5 = 4 + 2 - 1 is reached or passed by 4 of 8.
    assert sign_flip(np.array([1.0, 2.0, 4.0])) == 2 / 8
    assert sign_flip(np.array([-1.0, 2.0, 4.0])) == 4 / 8
    assert sign_flip(np.array([-3.0] * 6)) == 2 / 2**6  # the smallest that six pairs can give


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_sign_flip_equals_enumeration(n):
    d = RNG.normal(0.5, 1, size=n)
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=n)]
    assert sign_flip(d) == np.mean(np.array(sums) >= abs(d.sum()) - 1e-12)


def test_sign_flip_counts_ties_that_differ_by_rounding():
    assert sign_flip(np.array([0.1, 0.2, -0.3])) == 1.0


def test_interval_covers_in_95_percent_of_simulations():
    draws = RNG.normal(0.02, 0.01, size=(600, 6))
    covered = np.mean([summary.low <= 0.02 <= summary.high for summary in map(summarise, draws.tolist())])
    assert 0.925 <= covered <= 0.975  # three standard errors around 95%


def test_detectable_difference_is_found_four_times_in_five():
    noise = RNG.normal(0, 0.01, size=(500, 8))
    detectable = compare(noise[0], np.zeros(8)).detectable / noise[0].std(ddof=1) * 0.01
    found = [compare(row + detectable, np.zeros(8)).p < 0.05 for row in noise]
    assert 0.74 <= np.mean(found) <= 0.86


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([math.nan, 0.02])[1] == pytest.approx(0.02)


def test_degenerate_samples():
    one = compare([1.0], [2.0])
    assert one.difference.mean == -1 and math.isnan(one.p) and math.isnan(one.difference.half)
    assert compare([], []).difference.n == 0
    same = compare([1.0, 2.0], [1.0, 2.0])
    assert same.p == 1 and same.dz == 0
    shifted = compare([2.0, 3.0], [1.0, 2.0])
    assert shifted.p == 0 and shifted.difference.half == 0 and math.isinf(shifted.dz)
