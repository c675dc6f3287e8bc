"""How two lists of numbers go together: by value, and by rank. N numbers."""

import numpy as np

from jaxgpt.ops.metrics.ranks import midranks


def pearson(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """The correlation of values, -1 to 1. NaN when a side is constant, is not finite, or is shorter than 2. Raises
    ValueError for two lengths."""
    a, b = _checked("pearson", a_N, b_N)
    return _correlation(a, b) if np.isfinite(a).all() and np.isfinite(b).all() else float("nan")


def spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """The correlation of ranks, -1 to 1; equal values share the mean of their ranks. NaN where
    nothing is ordered: a side is constant, has a NaN, or is shorter than 2. Raises ValueError for two lengths."""
    a, b = _checked("spearman", a_N, b_N)
    return float("nan") if np.isnan(a).any() or np.isnan(b).any() else _correlation(midranks(a), midranks(b))


def _checked(name: str, a_N: np.ndarray, b_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a_N, np.float64), np.asarray(b_N, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"{name}: shapes {a.shape} and {b.shape}; expected two of one length")
    return a, b


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if a.size < 2 or not (np.ptp(a) and np.ptp(b)):
        return float("nan")
    x, y = a - a.mean(), b - b.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))
