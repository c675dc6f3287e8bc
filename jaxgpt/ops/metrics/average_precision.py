"""The area under the curve of precision over recall. N rows."""

import numpy as np


def average_precision(score_N: np.ndarray, positive_N: np.ndarray) -> float:
    """0 to 1: Σ (recall step)·precision over the thresholds, from the highest score down, rows of one score taken
    together and nothing interpolated, as scikit-learn has it. NaN without a positive row, or for a NaN."""
    if not positive_N.any() or np.isnan(score_N).any():
        return float("nan")
    order = np.argsort(-score_N, kind="stable")
    score_N = score_N[order]
    last_of_score = np.flatnonzero(np.append(score_N[1:] != score_N[:-1], True))
    right = np.cumsum(positive_N[order])[last_of_score]
    precision, recall = right / (last_of_score + 1), right / right[-1]
    return float(np.diff(recall, prepend=0.0) @ precision)
