"""F1: the harmonic mean of precision and recall (van Rijsbergen 1979). N rows."""

import numpy as np


def f1(chosen_N: np.ndarray, positive_N: np.ndarray) -> float:
    """Of bool chosen and bool positive rows, 0 to 1; 0 where no row is either, as scikit-learn has it."""
    right = np.count_nonzero(chosen_N & positive_N)
    either = np.count_nonzero(chosen_N) + np.count_nonzero(positive_N)
    return 2 * right / either if either else 0.0


def macro_f1(chosen_N: np.ndarray, target_N: np.ndarray) -> float:
    """The mean over the classes, int, that rows have or are said to have; NaN of no rows."""
    classes = np.union1d(chosen_N, target_N)
    return float(np.mean([f1(chosen_N == c, target_N == c) for c in classes])) if len(classes) else float("nan")
