"""The area under the ROC curve: how often a positive row scores above a negative one. N rows."""

import numpy as np

from jaxgpt.ops.metrics.ranks import midranks


def roc_auc(score_N: np.ndarray, positive_N: np.ndarray) -> float:
    """0 to 1, ties counting half (Hanley & McNeil 1982); of bool `positive_N`. NaN for rows of one class, or a NaN."""
    positives = np.count_nonzero(positive_N)
    negatives = len(positive_N) - positives
    if not positives or not negatives or np.isnan(score_N).any():
        return float("nan")
    above = midranks(score_N)[positive_N].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
