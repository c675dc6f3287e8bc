"""Matthews' correlation coefficient, of two classes or more. N rows, C classes."""

import numpy as np


def matthews(chosen_N: np.ndarray, target_N: np.ndarray) -> float:
    """-1 to 1, of int classes (Matthews 1975; Gorodkin 2004, equation 8, for more than two): 0 where all rows are of
    one class, or all are said to be, as scikit-learn has it; NaN of no rows."""
    if not len(target_N):
        return float("nan")
    C = int(max(chosen_N.max(), target_N.max())) + 1
    confusion_CC = np.zeros((C, C))
    np.add.at(confusion_CC, (target_N, chosen_N), 1.0)
    N, target_C, chosen_C = confusion_CC.sum(), confusion_CC.sum(1), confusion_CC.sum(0)
    covariance = np.trace(confusion_CC) * N - target_C @ chosen_C
    spread = np.sqrt((N**2 - target_C @ target_C) * (N**2 - chosen_C @ chosen_C))
    return float(covariance / spread) if spread else 0.0
