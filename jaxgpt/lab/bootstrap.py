"""The bootstrap interval, for differences that are skewed and many."""

import math
from collections.abc import Sequence

import numpy as np

FEWEST = 10
"""Values below which there is no interval: at 8 a nominal 95% covers in 89% of simulations, at 5 in 79%."""


def bca(differences: Sequence[float], level: float = 0.95, draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean (Efron 1987): low and high.

    Beside the t interval where the differences are skewed, never instead: it is too narrow for few values. NaN for
    fewer than `FEWEST`, so that a report of many arms prints on.
    """
    values = np.asarray(differences, float)
    if len(values) < FEWEST:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    from scipy.stats import bootstrap

    found = bootstrap((values,), np.mean, confidence_level=level, n_resamples=draws, method="BCa", rng=seed)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
