"""The bootstrap interval: a second look at many differences, free of the normality that t assumes.

It needs more seeds than most sweeps have. Nominal 95% intervals of 10 values cover in 90% of simulations where t covers
in 95 (normal noise), and in 82 against 84 (lognormal); of 20 values in 92 against 95, and in 87 against 87
(`bench/lab_statistics.py`).
"""

import math
from collections.abc import Sequence

import numpy as np

FEWEST = 10
"""Values below which there is no interval."""


def bca(differences: Sequence[float], level: float = 0.95, draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean (Efron 1987): low and high.

    Beside the t interval, never instead. NaN for fewer than `FEWEST` values, so that a report of many arms prints on.
    """
    values = np.asarray(differences, float)
    if len(values) < FEWEST:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    from scipy.stats import bootstrap

    interval = bootstrap((values,), np.mean, confidence_level=level, n_resamples=draws, method="BCa", rng=seed)
    return float(interval.confidence_interval.low), float(interval.confidence_interval.high)
