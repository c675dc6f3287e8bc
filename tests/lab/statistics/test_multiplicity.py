import math
from unittest import mock

import pytest
from close import assert_close
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from jaxgpt.lab.statistics.multiplicity import benjamini_hochberg, holm

# A handful of shared values makes ties common.
P_VALUES = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.02, 0.05, 0.5, 1.0]), min_size=1, max_size=12)
METHODS = [(holm, "holm"), (benjamini_hochberg, "fdr_bh")]


@pytest.mark.parametrize(("adjust", "method"), METHODS)
@given(p_values=P_VALUES)
def test_equal_to_statsmodels(adjust, method, p_values):
    with mock.patch("gc.collect"):  # statsmodels' Holm collects garbage at each call
        expected = multipletests(p_values, method=method)[1]
    assert_close(adjust(p_values), expected, 1e-12)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@given(p_values=P_VALUES, at=st.integers(0, 12))
def test_nan_stays_and_does_not_count(adjust, p_values, at):
    found = adjust([*p_values[:at], math.nan, *p_values[at:]])
    at = min(at, len(p_values))
    assert math.isnan(found.pop(at))
    assert found == adjust(p_values)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@given(p_values=P_VALUES, shuffle=st.randoms())
def test_order_of_contrasts_does_not_matter(adjust, p_values, shuffle):
    order = list(range(len(p_values)))
    shuffle.shuffle(order)
    adjusted = adjust(p_values)
    assert adjust([p_values[i] for i in order]) == [adjusted[i] for i in order]


def test_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])


def test_nothing_to_adjust():
    assert holm([]) == benjamini_hochberg([]) == []
