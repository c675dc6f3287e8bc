"""The statistics of an ablation over seeds.

Student's t throughout: at 3, 5 and 8 seeds its 95% interval covers in 94 to 95% of simulations, where the bootstrap's
reaches 72, 79 and 89%. `scipy.special` has the distribution; `scipy.stats` takes a second to import and is left to the
tests.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLAIM = 6
"""Pairs below which nothing is claimed: with 5 the smallest two-sided sign-flip p is 0.0625."""
EXACT = 24
"""Pairs up to which all sign flips are enumerated."""


@dataclass(frozen=True)
class Summary:
    """A mean with its 95% t interval. With fewer than two values there is no interval: `sd` and `half` are NaN."""

    n: int
    mean: float
    sd: float
    half: float
    """Half the width of the interval."""

    @property
    def low(self) -> float:
        """The interval's lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return self.mean + self.half


@dataclass(frozen=True)
class Paired:
    """An arm against the baseline, over the seeds that both finished."""

    difference: Summary
    """Of the per-seed differences, arm minus baseline. Its interval is the primary result."""
    p: float
    """Two-sided paired t test."""
    p_flip: float
    """Exact two-sided sign-flip test: free of the normality that t assumes. NaN above `EXACT` pairs."""
    dz: float
    """Effect size: mean difference over the standard deviation of the differences."""
    rho: float
    """Pearson correlation of the pairs. Pairing pays where it is high."""
    detectable: float
    """The smallest true difference that this many pairs would find with 80% power."""


def summarise(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and 95% t interval."""
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    sd = float(np.std(values, ddof=1)) if n > 1 else math.nan
    return Summary(n, mean, sd, _quantile(0.975, n - 1) * sd / math.sqrt(n) if n > 1 else math.nan)


def compare(arm: Sequence[float], baseline: Sequence[float]) -> Paired:
    """Paired comparison; item i of both comes from the same seed."""
    from scipy.special import stdtr

    a, b = np.asarray(arm, float), np.asarray(baseline, float)
    d = a - b
    difference = summarise(d.tolist())
    n, mean, sd = difference.n, difference.mean, difference.sd
    if n < 2:
        return Paired(difference, math.nan, math.nan, math.nan, math.nan, math.nan)
    error = sd / math.sqrt(n)
    if error > 0:
        p, dz = float(2 * stdtr(n - 1, -abs(mean) / error)), mean / sd
    else:  # equal differences: certain, or none at all
        p, dz = float(mean == 0), math.copysign(math.inf, mean) if mean else 0.0
    rho = float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else math.nan
    detectable = (_quantile(0.975, n - 1) + _quantile(0.8, n - 1)) * error
    return Paired(difference, p, sign_flip(d), dz, rho, detectable)


def sign_flip(differences: NDArray[np.float64]) -> float:
    """P value of the mean under all 2^n choices of sign, each as likely as the other when the arms are alike."""
    n = len(differences)
    if not 0 < n <= EXACT:
        return math.nan
    sums = differences[:1]  # by symmetry the first sign stays as it is
    for d in differences[1:]:
        sums = np.concatenate([sums + d, sums - d])
    observed = abs(float(differences.sum()))
    slack = 1e-12 * float(np.abs(differences).sum())  # sums that differ by rounding only are ties
    return float(np.mean(np.abs(sums) >= observed - slack))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): the family-wise error over all contrasts stays below the level."""
    known = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted, floor = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(known):
        floor = max(floor, min(1.0, (len(known) - rank) * p))
        adjusted[i] = floor
    return adjusted


def _quantile(p: float, df: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, p))
