"""The share of rows whose most likely class is the label."""

import numpy as np


def accuracy(chosen_N: np.ndarray, target_N: np.ndarray) -> float:
    """0 to 1; NaN of no rows."""
    return float(np.mean(chosen_N == target_N)) if len(target_N) else float("nan")
