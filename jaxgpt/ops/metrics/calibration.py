"""Whether predictions of a probability are right that often. N rows, C classes."""

import numpy as np

BINS = 15
"""Of equal width; what Guo et al. 2017 use."""


def calibration_error(p_NC: np.ndarray, target_N: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error, 0 to 1: rows in bins (lower, upper] of the largest probability; the mean over
    rows of the difference between their bin's mean probability and its accuracy (Guo et al. 2017, equation 3). NaN
    of no rows."""
    if not len(target_N):
        return float("nan")
    confidence_N = p_NC.max(-1)
    gap_N = confidence_N - (p_NC.argmax(-1) == target_N)
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(bin_N, gap_N, bins)).sum() / len(target_N))


def probabilities(logits_NC: np.ndarray) -> np.ndarray:
    """float64 (N, C): softmax over the classes."""
    logits = np.asarray(logits_NC, np.float64)
    p_NC = np.exp(logits - logits.max(-1, keepdims=True))
    return p_NC / p_NC.sum(-1, keepdims=True)
