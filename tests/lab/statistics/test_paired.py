import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxgpt.lab.statistics.paired import below, compare, sign_flip, summarise, unpaired
from jaxgpt.lab.statistics.power import power

RNG = np.random.default_rng(0)
BASE = RNG.normal(3.3, 0.02, size=8)
ARM = BASE - 0.01 + RNG.normal(0, 0.01, size=8)
MODDED_NANOGPT = np.loadtxt(Path(__file__).parent / "modded_nanogpt.txt").ravel()


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


@pytest.mark.parametrize("n", [3, 6, 8])
def test_detectable_difference_has_80_percent_power(n):
    found = compare(ARM[:n], BASE[:n])
    assert power(n, found.difference.sd, found.detectable) == pytest.approx(0.8, rel=1e-4)


@pytest.mark.parametrize("n", [3, 6, 8])
def test_welch_equals_scipy(n):
    found, expected = unpaired(ARM[:n], BASE), scipy_stats.ttest_ind(ARM[:n], BASE, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.p, found.df) == pytest.approx((expected.pvalue, expected.df), rel=1e-9)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.difference.n == n


def test_effect_size_of_unpaired_arms_by_hand():
    assert unpaired([1.0, 3.0], [4.0, 8.0]).d == pytest.approx(-4 / math.sqrt((2 + 8) / 2))


def test_below_equals_scipy():
    for goal in (3.25, 3.3, 3.35):
        expected = scipy_stats.ttest_1samp(ARM, goal, alternative="less").pvalue
        assert below(ARM, goal) == pytest.approx(expected, rel=1e-9)


def test_published_set_of_modded_nanogpt():
    found = summarise(MODDED_NANOGPT)
    assert (found.n, round(found.mean, 4), round(found.sd, 4)) == (80, 3.2791, 0.0019)
    assert round(below(MODDED_NANOGPT, 3.28), 4) == 0.0001


def test_degenerate_samples():
    one = compare([1.0], [2.0])
    assert one.difference.mean == -1 and math.isnan(one.p) and math.isnan(one.difference.half)
    assert compare([], []).difference.n == 0
    same = compare([1.0, 2.0], [1.0, 2.0])
    assert same.p == 1 and same.dz == 0
    shifted = compare([2.0, 3.0], [1.0, 2.0])
    assert shifted.p == 0 and shifted.difference.half == 0 and math.isinf(shifted.dz)
    assert math.isnan(unpaired([1.0], [2.0, 3.0]).p) and unpaired([1.0], [2.0, 3.0]).difference.mean == -1.5
    assert unpaired([1.0, 1.0], [1.0, 1.0]).p == 1 and unpaired([1.0, 1.0], [2.0, 2.0]).p == 0
    assert math.isnan(below([1.0], 2.0))
    assert below([1.0, 1.0], 2.0) == 0 and below([1.0, 1.0], 1.0) == 1
