"""The validation batches, each made when it is asked for."""

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from jaxgpt.text.batches.windows import Batch


class ValPass(Sequence[Batch]):
    """One pass over held-out rows in order, so many a batch; the last batch is filled up with rows of zeros."""

    def __init__(self, make: Callable[[int, int], Batch], total: int, rows: int):
        """`make(start, stop)` makes rows `start` to `stop - 1` of `total`."""
        self._make, self._total, self._rows = make, total, rows

    def __len__(self) -> int:
        return -(-self._total // self._rows)

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        if isinstance(index, slice):
            return [self[item] for item in range(*index.indices(len(self)))]
        return self.rows(*self.spans[index])

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First row of each batch and the one after its last."""
        return [(first, first + self._rows) for first in range(0, self._total, self._rows)]

    def rows(self, start: int, stop: int) -> Batch:
        """Rows `start` to `stop - 1` of the pass; those past its end are zeros."""
        batch = self._make(start, min(stop, self._total))
        missing = stop - max(start, min(stop, self._total))
        if not missing:
            return batch
        return {name: np.pad(part, [(0, missing), *[(0, 0)] * (part.ndim - 1)]) for name, part in batch.items()}
