"""Scaling ladders: a power law through one loss per size, with its error over seeds.

What a fit over few sizes does not show. Over less than a few decades many curves look straight in log-log, so the fit
is no evidence for a power law; Kaplan et al. 2020, section 3, had more than six decades of size, and still held that
the line must flatten. Without the irreducible loss E the exponent is a slope at these sizes and falls towards 0 as the
loss nears E. With E (Hoffmann et al. 2022, section 3.3) three numbers trade off against each other: from a handful of
sizes an exponent and its E move together, and beyond the largest size the prediction is a guess (Besiroglu et al. 2024
refitted Hoffmann's data and found other values and far wider intervals). The intervals here hold the noise of seeds
alone, neither the choice of sizes nor that of the form; and every size needs its own learning rate and a schedule that
ends.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxgpt.lab.statistics.paired import Summary, summarise
from jaxgpt.spec import JaxgptError

SIZES = 4
"""Distinct sizes below which E is not fitted: three numbers pass through any three points."""
STARTS = (0.0, 0.5, 0.9)
"""Fractions of the smallest loss from which the search for E begins; the best end counts."""


@dataclass(frozen=True)
class Law:
    """L(x) = E + a·x^-b, fitted to each seed apart: seeds are independent replicates, sizes of one seed are not."""

    exponent: Summary
    """b over the seeds."""
    a: float
    """Geometric mean over the seeds, in the loss's unit at x = 1."""
    irreducible: Summary | None
    """E over the seeds, None where it was held at 0. An interval that reaches 0 shows no E."""
    fits: tuple[tuple[float, float, float], ...]
    """(E, a, b) of each seed."""
    residuals: tuple[tuple[float, ...], ...]
    """log of loss over fit, seed by size. One sign in the middle and the other at both ends: the form is wrong."""

    def predict(self, x: float) -> Summary:
        """The mean of the seeds' own curves at x and its interval: a band for the mean, not for one more run."""
        return summarise([e + a * x**-b for e, a, b in self.fits])


def fit(x: ArrayLike, y_by_seed: ArrayLike, irreducible: bool = False) -> Law:
    """Least squares on the logarithm of the loss, seed by seed.

    x: K sizes (parameters, tokens, FLOPs), y_by_seed: S by K losses of finished runs. With `irreducible`, E is fitted
    too, between 0 and the seed's smallest loss; 4 distinct sizes at least. One seed gives a law without intervals.
    Raises JaxgptError for shapes that differ, too few sizes, and any size or loss that is not above 0.
    """
    sizes, losses = np.asarray(x, float), np.asarray(y_by_seed, float)
    _check(sizes, losses, SIZES if irreducible else 2)
    u, v = np.log(sizes), np.log(losses)
    slopes, heights = np.polyfit(u, v.T, 1)
    fits = np.stack([np.zeros_like(slopes), np.exp(heights), -slopes], axis=1)
    if irreducible:
        fits = np.stack([_with_floor(u, row) for row in losses])
    e, a, b = fits.T
    curves = e[:, None] + a[:, None] * sizes ** -b[:, None]
    return Law(
        exponent=summarise(b.tolist()),
        a=math.exp(np.log(a).mean()),
        irreducible=summarise(e.tolist()) if irreducible else None,
        fits=tuple((float(e), float(a), float(b)) for e, a, b in fits),
        residuals=tuple(tuple(row) for row in (v - np.log(curves)).tolist()),
    )


def _with_floor(u: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(E, a, b) of one seed at log sizes u."""
    from scipy.optimize import least_squares

    middle, smallest = u.mean(), y.min()
    u = u - middle  # the height at the middle and the slope then hardly depend on each other

    def parts(at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        power = np.exp(at[1] - at[2] * u)
        return power, at[0] * smallest + power

    def residual(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(parts(at)[1] / y)

    def slope(at: NDArray[np.float64]) -> NDArray[np.float64]:
        power, curve = parts(at)
        return np.stack([np.full_like(u, smallest), power, -u * power], axis=1) / curve[:, None]

    ends = []
    for share in STARTS:
        falling, height = np.polyfit(u, np.log(y - share * smallest), 1)
        start = (share, height, -falling)
        bounds = ([0.0, -np.inf, -np.inf], [1.0, np.inf, np.inf])
        ends.append(least_squares(residual, start, slope, bounds=bounds, xtol=1e-12, ftol=1e-12, gtol=1e-12))
    share, height, b = min(ends, key=lambda end: end.cost).x
    return np.array([share * smallest, math.exp(height + b * middle), b])


def _check(sizes: NDArray[np.float64], losses: NDArray[np.float64], fewest: int) -> None:
    if sizes.ndim != 1 or losses.ndim != 2 or losses.shape[1] != len(sizes) or not len(losses):
        raise JaxgptError(f"y_by_seed: shape {losses.shape}; expected one row a seed, one column for each of x's sizes")
    if len(set(sizes.tolist())) < fewest:
        raise JaxgptError(f"x: {len(set(sizes.tolist()))} distinct sizes; expected {fewest} or more, for each seed")
    for field, values in (("x", sizes), ("y_by_seed", losses)):
        if not (np.isfinite(values) & (values > 0)).all():
            bad = values[~(np.isfinite(values) & (values > 0))][0]
            raise JaxgptError(f"{field}: {bad}; expected finite and above 0. Leave a seed out where a size diverged")
