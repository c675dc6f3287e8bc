"""Which rows make an epoch in which every class comes equally often.

N rows of a source, E rows of an epoch, C classes.
"""

from functools import lru_cache
from typing import Literal

import numpy as np

Balance = Literal["over", "under"]


class BalancedRows:
    """The rows of one source by their classes; those of each class come in an order of its own in every epoch."""

    def __init__(self, label_N: np.ndarray, balance: Balance):
        self._classes = [np.flatnonzero(label_N == label) for label in np.unique(label_N)]
        sizes = [len(rows) for rows in self._classes]
        self.each = (max if balance == "over" else min)(sizes, default=0)
        self._epoch = lru_cache(maxsize=8)(self._draw)

    def __len__(self) -> int:
        """E: as many rows of each class as the largest has (`over`), or the smallest (`under`)."""
        return self.each * len(self._classes)

    def row(self, seed: int, epoch: int, place: int) -> int:
        """The row that stands at this place, 0 to E - 1, of an epoch before its order is drawn."""
        return int(self._epoch(seed, epoch)[place])

    def _draw(self, seed: int, epoch: int) -> np.ndarray:
        """int64 (E,): each row of a class as often as any other of it, give or take once, which the seed decides."""
        chance = np.random.default_rng(np.random.SeedSequence((seed, epoch)))
        return np.concatenate(
            [
                np.concatenate(
                    [np.tile(rows, self.each // len(rows)), chance.permutation(rows)[: self.each % len(rows)]]
                )
                for rows in self._classes
            ]
        )
