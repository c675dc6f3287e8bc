import math

import numpy as np
import pytest
from close import assert_close
from statsmodels.stats.power import TTestPower

from jaxgpt.lab.statistics.paired import compare
from jaxgpt.lab.statistics.power import pairs_needed, power, sd_of_differences
from jaxgpt.spec import JaxgptError

THEIRS = TTestPower()


@pytest.mark.parametrize("n", [3, 6, 8, 30, 200])
@pytest.mark.parametrize("effect", [0.05, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_power_equals_statsmodels(n, effect, level):
    expected = THEIRS.power(effect, n, level)
    if math.isfinite(expected):  # theirs is NaN where the chance of the wrong side underflows
        assert_close(power(n, 0.02, effect * 0.02, level), expected, 1e-9, scale=1.0)


@pytest.mark.parametrize("detect", [0.002, 0.005, 0.01, 0.02])
@pytest.mark.parametrize("rho", [0.0, 0.63, 0.9])
def test_pairs_equal_statsmodels(detect, rho):
    effect = detect / sd_of_differences(0.01, rho)
    expected = math.ceil(THEIRS.solve_power(effect, alpha=0.05, power=0.8))
    assert pairs_needed(0.01, rho, detect) == max(6, expected)


def test_pairs_are_the_fewest():
    n = pairs_needed(0.01, 0.5, 0.004, power=0.9, level=0.01)
    assert power(n, 0.01, 0.004, 0.01) >= 0.9 > power(n - 1, 0.01, 0.004, 0.01)


@pytest.mark.parametrize("n", [6, 12])
def test_power_equals_simulation(n):
    differences = np.random.default_rng(0).normal(0.01, 0.01, size=(2000, n))
    found, expected = np.mean([compare(row, np.zeros(n)).p < 0.05 for row in differences]), power(n, 0.01, 0.01)
    assert abs(found - expected) <= 3 * math.sqrt(expected * (1 - expected) / 2000)


def test_spread_of_differences_equals_simulation():
    pairs = np.random.default_rng(0).multivariate_normal([0, 0], [[4, 2.52], [2.52, 4]], size=20_000)
    assert np.std(pairs[:, 0] - pairs[:, 1]) == pytest.approx(sd_of_differences(2, 0.63), rel=0.02)


def test_never_fewer_than_a_claim_needs():
    assert pairs_needed(0.001, 0.0, 1.0) == 6
    assert pairs_needed(0.01, 1.0, 0.01) == 6
    assert power(1, 0.01, 1.0) == 0


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((math.nan, 0.5, 0.01), "sd: nan"),
        ((-1.0, 0.5, 0.01), "sd: -1"),
        ((0.01, 1.5, 0.01), "rho: 1.5"),
        ((0.01, math.nan, 0.01), "rho: nan"),
        ((0.01, 0.5, 0.0), "detect: 0"),
        ((0.01, 0.5, 0.01, 1.0), "power: 1"),
        ((0.01, 0.5, 0.01, 0.8, 5), "level: 5"),
    ],
)
def test_bad_input_is_one_line(arguments, field):
    with pytest.raises(JaxgptError, match=field) as error:
        pairs_needed(*arguments)
    assert "\n" not in str(error.value)
