"""Metrics of classes against closed forms, and where rows are of one class; `make parity` compares scikit-learn's."""

from itertools import product

import numpy as np
import pytest

from jaxgpt.ops.metrics.accuracy import accuracy
from jaxgpt.ops.metrics.average_precision import average_precision
from jaxgpt.ops.metrics.calibration import calibration_error, probabilities
from jaxgpt.ops.metrics.f1 import f1, macro_f1
from jaxgpt.ops.metrics.matthews import matthews
from jaxgpt.ops.metrics.roc_auc import roc_auc

rng = np.random.default_rng(0)
TARGET, CHOSEN = rng.integers(0, 3, (2, 60))
POSITIVE = rng.uniform(size=80) < 0.3
SCORES = {"ties": rng.integers(0, 6, 80) / 3 + 0.4 * POSITIVE.round(), "no ties": rng.standard_normal(80) + POSITIVE}


def test_those_of_a_table_of_two_by_two():
    target = np.repeat([1, 1, 0, 0], [6, 3, 1, 10])  # 6 found, 3 missed, 1 false alarm, 10 left alone
    chosen = np.repeat([1, 0, 1, 0], [6, 3, 1, 10])
    assert accuracy(chosen, target) == pytest.approx(16 / 20)
    assert f1(chosen == 1, target == 1) == pytest.approx(2 * 6 / (2 * 6 + 3 + 1))
    assert macro_f1(chosen, target) == pytest.approx((12 / 16 + 20 / 24) / 2)
    assert matthews(chosen, target) == pytest.approx((6 * 10 - 1 * 3) / np.sqrt(9 * 11 * 7 * 13))


def test_matthews_of_three_classes_is_the_correlation_of_indicators():
    """Gorodkin 2004, equation 4: covariances summed over the classes."""
    a, b = (np.eye(3)[x] - np.eye(3)[x].mean(0) for x in (CHOSEN, TARGET))
    assert matthews(CHOSEN, TARGET) == pytest.approx((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
    assert matthews(TARGET, TARGET) == pytest.approx(1)


def test_macro_f1_is_over_the_classes_that_are_met():
    assert macro_f1(np.array([0, 5]), np.array([0, 5])) == 1
    assert macro_f1(np.array([0, 0]), np.array([0, 5])) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("name", SCORES)
def test_roc_auc_is_the_share_of_pairs_in_order(name):
    score = SCORES[name]
    pairs = [np.sign(p - n) for p, n in product(score[POSITIVE], score[~POSITIVE])]
    assert roc_auc(score, POSITIVE) == pytest.approx((np.mean(pairs) + 1) / 2, rel=1e-12)
    assert roc_auc(-score, POSITIVE) == pytest.approx(1 - roc_auc(score, POSITIVE), rel=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_average_precision_sums_the_steps_of_recall(name):
    score, area, recall = SCORES[name], 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        chosen = score >= threshold
        now = POSITIVE[chosen].sum() / POSITIVE.sum()
        area, recall = area + (now - recall) * POSITIVE[chosen].mean(), now
    assert average_precision(score, POSITIVE) == pytest.approx(area, rel=1e-12)
    shuffled = rng.permutation(80)
    assert average_precision(score[shuffled], POSITIVE[shuffled]) == pytest.approx(area, rel=1e-12)


def test_calibration_is_exact_where_shares_are_what_is_said():
    p = np.array([[0.75, 0.25]] * 4 + [[0.4, 0.6]] * 5)
    right = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0])
    assert calibration_error(p, right) == pytest.approx(0, abs=1e-12)
    wrong = np.ones(9, int)
    assert calibration_error(p, wrong) == pytest.approx((4 * 0.75 + 5 * 0.4) / 9)
    assert calibration_error(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0, 0])) == pytest.approx(0.25)


def test_probabilities_of_any_logits():
    p = probabilities(np.array([[0.0, np.log(3)], [-1e30, 200.0], [-200.0, -200.0]], np.float64))
    np.testing.assert_allclose(p, [[0.25, 0.75], [0, 1], [0.5, 0.5]])


def test_what_rows_of_one_class_cannot_tell_is_nan():
    """Where scikit-learn has a number, so have we."""
    score, none = np.array([0.1, 0.7]), np.zeros(2, bool)
    assert np.isnan(roc_auc(score, none)) and np.isnan(roc_auc(score, ~none))
    assert np.isnan(average_precision(score, none)) and average_precision(score, ~none) == 1
    assert np.isnan(roc_auc(np.array([np.nan, 1]), ~none)) and np.isnan(average_precision(np.array([np.nan, 1]), ~none))
    assert matthews(np.zeros(3, int), np.array([0, 1, 1])) == 0 == f1(none, none)
    empty = np.zeros(0, int)
    assert all(np.isnan(metric(empty, empty)) for metric in (accuracy, macro_f1, matthews))
    assert np.isnan(calibration_error(np.zeros((0, 2)), empty))
