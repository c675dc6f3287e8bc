"""Batch sizes by step: pure functions, so that a resumed run knows its place in the data from the step alone."""

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import Protocol

from pydantic import Field

from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Length, Tokens


class BatchRamp(Spec):
    """A batch that grows linearly, in equal stairs (Brown et al. 2020, appendix B)."""

    start: Length
    """Rows of the first batch; every later size is a multiple of it."""
    tokens: Tokens
    """Tokens over which the batch grows to batch_size."""
    stairs: int = Field(default=8, gt=0, le=1000)
    """Sizes before the full one; every size compiles once."""


class Batched(Protocol):
    """What of a run decides its batches."""

    @property
    def batch_size(self) -> int:
        """Rows of a full batch."""

    @property
    def batch_ramp(self) -> BatchRamp | None:
        """How the batch grows to it."""

    @property
    def row_tokens(self) -> int:
        """Tokens that a row puts through the model."""


class Rows:
    """The rows of the training data that each step of a run takes, numbered over the whole run."""

    def __init__(self, run: Batched):
        self.sizes, self.starts = [run.batch_size], [0]
        if run.batch_ramp is None:
            return
        ramp = run.batch_ramp
        stair_tokens = ramp.tokens / ramp.stairs
        sizes, lengths = [], []
        for stair in range(ramp.stairs):
            wanted = ramp.start + (run.batch_size - ramp.start) * stair / ramp.stairs
            rows = max(1, round(wanted / ramp.start)) * ramp.start
            sizes.append(rows)
            lengths.append(max(1, round(stair_tokens / (rows * run.row_tokens))))
        self.sizes = [*sizes, run.batch_size]
        self.starts = [0, *accumulate(lengths)]

    def steps(self, rows: int) -> int:
        """The fewest steps that take so many rows."""
        whole = self.span(self.starts[-1])[0]
        if rows > whole:
            return self.starts[-1] - (whole - rows) // self.sizes[-1]
        return bisect_left(range(self.starts[-1]), rows, key=lambda step: self.span(step)[1]) + 1

    def span(self, step: int) -> tuple[int, int]:
        """`(start, stop)`: the rows `start` to `stop - 1` of a step, which is counted from 0."""
        stair = bisect_right(self.starts, step) - 1
        before = sum(
            size * (end - start)
            for size, start, end in zip(self.sizes, self.starts, self.starts[1 : stair + 1], strict=False)
        )
        start = before + self.sizes[stair] * (step - self.starts[stair])
        return start, start + self.sizes[stair]
