"""P values of many contrasts at once. NaN, a contrast that could not be tested, stays NaN and does not count."""

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): the k-th smallest of m times m - k + 1, never falling.

    For planned contrasts: the chance of a single false claim among all of them stays below the level.
    """
    known = _ascending(p_values)
    adjusted, floor = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(known):
        floor = max(floor, min(1.0, (len(known) - rank) * p))
        adjusted[i] = floor
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's q values (1995): the k-th smallest of m times m / k, never above the next one's.

    For exploration: of the contrasts claimed at q < 0.05, about one in twenty is expected to be false.
    """
    known = _ascending(p_values)
    adjusted, ceiling = [math.nan] * len(p_values), 1.0
    for rank, (p, i) in reversed(list(enumerate(known, start=1))):
        ceiling = min(ceiling, p * len(known) / rank)
        adjusted[i] = ceiling
    return adjusted


def _ascending(p_values: Sequence[float]) -> list[tuple[float, int]]:
    return sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
