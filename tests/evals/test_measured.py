"""Intervals over items, and two models on the same ones: against closed forms, and by coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest

from jaxgpt.evals.measured import Measured, compared, mcnemar, means, of_rows, of_sums, resamples


def of_values(values, name="x", right=False):
    values = np.asarray(values, float)
    marks = {name: values == 1} if right else {}
    return Measured((name,), len(values), means(values[:, None]), marks)


def test_resamples_draw_all_items_equally_and_the_same_for_all():
    counts = np.concatenate([*resamples(50, 400)])
    assert counts.shape == (400, 50) and (counts.sum(1) == 50).all()
    assert counts.mean(0) == pytest.approx(np.ones(50), abs=0.2)
    assert np.array_equal(counts, np.concatenate([*resamples(50, 400)]))


def test_an_interval_of_a_mean_is_its_standard_error_wide():
    values = np.random.default_rng(0).normal(3, 2, 400)
    measured = of_values(values)
    low, high = measured.intervals()["x"]
    assert measured.figures["x"] == pytest.approx(values.mean())
    assert (high - low) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_intervals_cover_what_is_true():
    rng = np.random.default_rng(1)
    hits = sum(
        low <= 0.3 <= high for low, high in (of_values(rng.random(80) < 0.3).intervals()["x"] for _ in range(80))
    )
    assert hits >= 68  # 95% nominal: fewer in one of 2,000 such tests


def test_figures_of_sums_are_those_of_the_items_drawn():
    values = np.random.default_rng(2).random((30, 2))
    (counts,) = resamples(30, 20)
    drawn = [np.repeat(values, row.astype(int), 0).sum(0) for row in counts]
    figures = of_sums(values, lambda s: [np.exp(s[0] / s[1])])(counts)
    assert figures == pytest.approx(np.array([[np.exp(a / b)] for a, b in drawn]))


def test_figures_of_rows_are_those_of_the_rows_drawn():
    """Here figures that are functions of sums too."""
    values = np.random.default_rng(3).random((30, 2))
    (counts,) = resamples(30, 20)
    found = of_rows(30, lambda index: [values[index, 0].mean(), values[index, 1].max()])(counts)
    assert found[:, :1] == pytest.approx(means(values[:, :1])(counts))
    assert found[:, 1] == pytest.approx([values[row > 0, 1].max() for row in counts])


def test_many_items_are_drawn_fewer_times():
    first = [next(resamples(items)) for items in (20_000, 100_000, 10_000_000)]
    assert [len(np.concatenate([*resamples(n)])) for n in (20, 100_000)] == [2000, 400]
    assert all((counts.sum(1) == counts.shape[1]).all() for counts in first)


def test_a_few_items_have_no_interval():
    low, high = of_values([1, 0, 1]).intervals()["x"]
    assert np.isnan([low, high]).all()
    assert np.isnan(compared(of_values([1, 0]), of_values([0, 0]))["x"].p)


def test_pairing_sees_a_difference_that_is_smaller_than_the_spread():
    easy = np.random.default_rng(3).normal(0, 10, 200)
    better = easy + np.random.default_rng(4).normal(0.5, 0.5, 200)
    difference = compared(of_values(better), of_values(easy))["x"]
    assert 0.3 < difference.low < difference.value < difference.high < 0.7 and difference.p < 0.01
    low, high = of_values(better).intervals()["x"]
    assert high - low > 5 * (difference.high - difference.low)


def test_shares_of_right_items_are_compared_by_mcnemar():
    rng = np.random.default_rng(5)
    a, b = rng.random(100) < 0.7, rng.random(100) < 0.5
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    want = binomtest(only_a, only_a + only_b).pvalue
    assert compared(of_values(a, right=True), of_values(b, right=True))["x"].p == pytest.approx(want)
    assert mcnemar(a, a) == 1.0


def test_equal_models_do_not_differ_and_other_items_are_refused():
    same = of_values(np.arange(20.0))
    difference = compared(same, same)["x"]
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="20 items and 19"):
        compared(same, of_values(np.arange(19.0)))
