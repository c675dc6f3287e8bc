"""Batch sizes by step: pure functions, so that a resumed run knows its place in the data from the step alone."""

from bisect import bisect_right
from itertools import accumulate

from jaxgpt.runs.objective_run import ObjectiveRun


class Rows:
    """The rows of the training data that each step of a run takes, numbered over the whole run."""

    def __init__(self, run: ObjectiveRun):
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

    def span(self, step: int) -> tuple[int, int]:
        """`(start, stop)`: the rows `start` to `stop - 1` of a step, which is counted from 0."""
        stair = bisect_right(self.starts, step) - 1
        before = sum(
            size * (end - start)
            for size, start, end in zip(self.sizes, self.starts, self.starts[1 : stair + 1], strict=False)
        )
        start = before + self.sizes[stair] * (step - self.starts[stair])
        return start, start + self.sizes[stair]
