"""What the library's own functions claim, against 2000 simulated experiments whose truth is known.

A rate that is 5% in truth comes out above UPPER in one of a hundred such sets of simulations, so that no more than
UPPER is what 2000 can show of "at most 5%"; a rate of 6.5% or more would be caught more often than not.
"""

import numpy as np
import pytest
from scipy.stats import binom

from jaxgpt.lab.statistics.multiplicity import benjamini_hochberg, holm
from jaxgpt.lab.statistics.paired import below, compare, summarise, unpaired

SIMULATIONS = 2000
LEVEL = 0.05
UPPER = binom.ppf(0.99, SIMULATIONS, LEVEL) / SIMULATIONS  # 0.0615
RNG = np.random.default_rng(0)


def runs(arms, seeds=6, rho=0.63, sd=0.01):
    """Losses near 3.3 of arms that are all alike, (simulation, arm, seed): a seed moves all arms together."""
    shared = RNG.normal(size=(SIMULATIONS, 1, seeds))
    own = RNG.normal(size=(SIMULATIONS, arms, seeds))
    return 3.3 + sd * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)


@pytest.fixture(scope="module")
def p_values():
    """Of 5 arms against the baseline, (simulation, arm)."""
    return np.array([[compare(arm, base).p for arm in others] for base, *others in runs(arms=6)])


def test_paired_t_claims_nothing_in_95_percent_of_nulls(p_values):
    assert np.mean(p_values[:, 0] < LEVEL) <= UPPER


def test_sign_flip_claims_nothing_in_95_percent_of_nulls():
    assert np.mean([compare(arm, base).p_flip < LEVEL for base, arm in runs(arms=2)]) <= UPPER


def test_welch_claims_nothing_in_95_percent_of_nulls_of_unequal_spread():
    found = [unpaired(3 * (arm[:8] - 3.3), base - 3.3) for base, arm in runs(arms=2, seeds=12, rho=0)]
    assert np.mean([each.p < LEVEL for each in found]) <= UPPER


def test_record_rule_claims_nothing_in_99_percent_of_nulls():
    claimed = np.mean([below(values, 3.3) < 0.01 for (values,) in runs(arms=1)])
    assert claimed <= binom.ppf(0.99, SIMULATIONS, 0.01) / SIMULATIONS


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_five_arms_together_claim_nothing_in_95_percent_of_nulls(p_values, adjust):
    assert np.mean([min(adjust(row)) < LEVEL for row in p_values]) <= UPPER


def test_without_adjustment_the_bound_is_broken(p_values):
    assert np.mean(p_values.min(axis=1) < LEVEL) > 2 * UPPER


@pytest.mark.parametrize("effect", [0.0, -0.01])
def test_paired_interval_covers_the_truth(effect):
    found = [compare(arm + effect, base).difference for base, arm in runs(arms=2)]
    covered = np.mean([each.low <= effect <= each.high for each in found])
    assert 0.93 <= covered <= 0.97


def test_a_normal_quantile_would_be_caught():
    found = [summarise(values) for (values,) in runs(arms=1)]
    covered = np.mean([abs(each.mean - 3.3) <= 1.96 * each.sd / np.sqrt(6) for each in found])
    assert covered < 0.93
