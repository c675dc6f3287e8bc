"""The share of rows that are told right."""

import numpy as np


def accuracy(chosen_N: np.ndarray, target_N: np.ndarray) -> float:
    """0 to 1; NaN of no rows."""
    return float(np.mean(chosen_N == target_N)) if len(target_N) else float("nan")
