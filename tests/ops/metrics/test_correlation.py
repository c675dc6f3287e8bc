"""Correlations against scipy's, with ties and without, and where nothing is ordered."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from jaxgpt.ops.metrics.correlation import pearson, spearman
from jaxgpt.ops.metrics.ranks import midranks

rng = np.random.default_rng(0)


@pytest.mark.parametrize("levels", [3, 100])
@pytest.mark.parametrize(("ours", "theirs"), [(pearson, pearsonr), (spearman, spearmanr)])
def test_they_are_scipys_with_and_without_ties(ours, theirs, levels):
    a, b = rng.integers(0, levels, (2, 50))
    assert ours(a, b) == pytest.approx(theirs(a, b).statistic, rel=1e-12)
    assert spearman(a, a**3) == 1 and spearman(a, -a) == -1 and pearson(a, 3 - 2 * a) == pytest.approx(-1, abs=1e-12)
    np.testing.assert_array_equal(midranks(a), rankdata(a))


@pytest.mark.parametrize("correlation", [pearson, spearman])
@pytest.mark.parametrize("a", [[1, 1, 1], [1, np.nan, 2]])
def test_of_what_has_no_order_they_are_nan(correlation, a):
    assert np.isnan(correlation(a, [1, 2, 3])) and np.isnan(correlation([1, 2, 3], a))
    assert np.isnan(correlation([1], [2])) and np.isnan(correlation([], []))
    assert np.isnan(pearson([1, np.inf, 2], [1, 2, 3]))


@pytest.mark.parametrize("correlation", [pearson, spearman])
def test_two_lengths_are_refused(correlation):
    with pytest.raises(ValueError, match="one length"):
        correlation([1, 2], [1, 2, 3])
