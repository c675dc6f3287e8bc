"""What a task measures: figures over items, their intervals, and two models compared on the same items.

N items, R resamples, F figures, S sums.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.95
"""Of intervals."""
DRAWS, FEWEST_DRAWS = 2000, 200
"""Resamples of the items, and how many there are at least."""
DRAWN = 40_000_000
"""Items that are drawn in all: of more than 20,000 there are fewer resamples."""
FEWEST = 10
"""Items below which there is no interval: so few say nothing of others."""
AT_ONCE = 1 << 22
"""Weights of items that are in memory at a time."""
Weigh = Callable[[np.ndarray], np.ndarray]
"""How often each item counts, float64 (R, N), to the figures (R, F)."""


class Measured(NamedTuple):
    """The figures of one model on one task."""

    names: tuple[str, ...]
    """Of the F figures."""
    items: int
    weigh: Weigh
    right: Mapping[str, np.ndarray] = {}
    """bool (N,): which items are right, of figures that are a share of right ones."""
    facts: Mapping[str, float] = {}
    """What else there is to say, without an interval: counts."""
    rows: Sequence[Mapping[str, Any]] = ()
    """What the model said of each item."""

    @property
    def figures(self) -> dict[str, float]:
        """Each figure over all items, NaN where they cannot tell, and the facts."""
        values = self.weigh(np.ones((1, self.items)))[0] if self.names else []
        return dict(zip(self.names, map(float, values), strict=True)) | dict(self.facts)

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Low and high of each figure: percentiles over resamples of the items (Efron & Tibshirani 1993, chapter 13),
        always the same ones. NaN for fewer than FEWEST items."""
        if self.items < FEWEST or not self.names:
            return {name: (math.nan, math.nan) for name in self.names}
        values_RF = np.concatenate([self.weigh(counts) for counts in resamples(self.items)])
        return dict(zip(self.names, _percentiles(values_RF), strict=True))


class Difference(NamedTuple):
    """One figure of two models on the same items."""

    value: float
    """The first model's less the second's."""
    low: float
    high: float
    p: float
    """Two-sided: how likely so large a difference is where there is none. Of shares of right items McNemar's exact test
    (1947), else the bootstrap's."""


def compared(a: Measured, b: Measured) -> dict[str, Difference]:
    """The difference of each figure that both have, by resamples of the items that are the same for both (Efron &
    Tibshirani 1993, chapter 16). Raises ValueError for other items."""
    if a.items != b.items:
        raise ValueError(f"compared: {a.items} items and {b.items}; expected the same ones")
    shared = [name for name in a.names if name in b.names]
    columns = [[measured.names.index(name) for name in shared] for measured in (a, b)]

    def differences(counts: np.ndarray) -> np.ndarray:
        ours, theirs = (m.weigh(counts)[:, own] for m, own in zip((a, b), columns, strict=True))
        return ours - theirs

    values = differences(np.ones((1, a.items)))[0]
    if a.items < FEWEST:
        return {name: Difference(float(value), *[math.nan] * 3) for name, value in zip(shared, values, strict=True)}
    values_RF = np.concatenate([differences(counts) for counts in resamples(a.items)])
    out = {}
    for name, value, draws, (low, high) in zip(shared, values, values_RF.T, _percentiles(values_RF), strict=True):
        if name in a.right and name in b.right:
            p = mcnemar(a.right[name], b.right[name])
        else:
            beyond = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
            p = min(1.0, 2 * (beyond + 1) / (len(draws) + 1))
        out[name] = Difference(float(value), low, high, p)
    return out


def mcnemar(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """The two-sided p that two models are right equally often, by the items which one alone has right: an exact test
    of a fair coin (McNemar 1947; Edwards 1948). 1 where there are none."""
    from scipy.stats import binomtest

    only_a, only_b = int(np.sum(a_N & ~b_N)), int(np.sum(~a_N & b_N))
    return 1.0 if only_a + only_b == 0 else float(binomtest(only_a, only_a + only_b).pvalue)


def resamples(items: int, draws: int | None = None, seed: int = 0) -> Iterator[np.ndarray]:
    """float64 (R, N) in parts: how often each item is drawn, with replacement; the same for every model."""
    rng = np.random.default_rng(seed)
    draws = draws or max(FEWEST_DRAWS, min(DRAWS, DRAWN // items))
    rows = max(1, AT_ONCE // items)
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        index = rng.integers(0, items, (count, items)) + items * np.arange(count)[:, None]
        yield np.bincount(index.ravel(), minlength=count * items).reshape(count, items).astype(float)


def of_sums(sums_NS: ArrayLike, of: Callable[[np.ndarray], Sequence[Any]]) -> Weigh:
    """Figures of what items add up to: `of` gives F of S sums, each (R,)."""
    items = np.asarray(sums_NS, float)

    def weigh(counts_RN: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.stack([np.asarray(value, float) for value in of((counts_RN @ items).T)], 1)

    return weigh


def of_rows(items: int, of: Callable[[np.ndarray], Sequence[float]]) -> Weigh:
    """Figures that are no function of sums, a ranking's say: `of` gives F of the rows at an index, each as often as it
    is drawn."""

    def weigh(counts_RN: np.ndarray) -> np.ndarray:
        rows_N = np.arange(items)
        return np.array([of(np.repeat(rows_N, counts_N)) for counts_N in counts_RN.astype(int)], float)

    return weigh


def means(values_NF: ArrayLike) -> Weigh:
    """Figures that are means over items."""
    values = np.asarray(values_NF, float)

    def weigh(counts_RN: np.ndarray) -> np.ndarray:
        return np.asarray(counts_RN @ values / counts_RN.sum(1, keepdims=True))

    return weigh


def _percentiles(values_RF: np.ndarray) -> list[tuple[float, float]]:
    tail = 100 * (1 - LEVEL) / 2
    low_F, high_F = np.percentile(values_RF, [tail, 100 - tail], axis=0)
    return [(float(low), float(high)) for low, high in zip(low_F, high_F, strict=True)]
