"""Ranks of numbers, with ties. N numbers."""

import numpy as np


def midranks(x_N: np.ndarray) -> np.ndarray:
    """float64 ranks from 1, smallest first; equal numbers share the mean of their places. `scipy.stats` has it too, and
    takes a second to import, which every training run would wait for."""
    _, value_N, times = np.unique(x_N, return_inverse=True, return_counts=True)
    return (np.cumsum(times) - (times - 1) / 2)[value_N]
