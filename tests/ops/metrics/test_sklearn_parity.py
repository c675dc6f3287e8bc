"""Metrics of classes are scikit-learn's, ties included."""

import numpy as np
import pytest

from jaxgpt.ops.metrics.accuracy import accuracy
from jaxgpt.ops.metrics.average_precision import average_precision
from jaxgpt.ops.metrics.f1 import f1, macro_f1
from jaxgpt.ops.metrics.matthews import matthews
from jaxgpt.ops.metrics.roc_auc import roc_auc

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
rng = np.random.default_rng(0)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_classes(classes):
    theirs = pytest.importorskip("sklearn.metrics")
    target, chosen = rng.integers(0, classes, (2, 300))
    assert accuracy(chosen, target) == pytest.approx(theirs.accuracy_score(target, chosen), rel=1e-12)
    assert macro_f1(chosen, target) == pytest.approx(theirs.f1_score(target, chosen, average="macro"), rel=1e-12)
    assert matthews(chosen, target) == pytest.approx(theirs.matthews_corrcoef(target, chosen), rel=1e-12)
    assert f1(chosen == 1, target == 1) == pytest.approx(theirs.f1_score(target == 1, chosen == 1), rel=1e-12)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_scores_with_ties(levels):
    theirs = pytest.importorskip("sklearn.metrics")
    positive = rng.uniform(size=400) < 0.1
    score = np.round((rng.standard_normal(400) + positive) * levels) / levels
    assert roc_auc(score, positive) == pytest.approx(theirs.roc_auc_score(positive, score), rel=1e-12)
    assert average_precision(score, positive) == pytest.approx(
        theirs.average_precision_score(positive, score), rel=1e-12
    )
