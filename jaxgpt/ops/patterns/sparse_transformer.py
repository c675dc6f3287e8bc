"""The two factorised patterns of the Sparse Transformer (Child et al. 2019, sections 4.2 and 4.3).

Each has two factors. The paper uses them in three ways (section 5.1), and so can a config: one factor a layer (two
entries in the model's `pattern`), both merged in every head (`factor: both`), or shared out over heads (`per_head`).
"""

from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator

from jaxgpt.ops.patterns.call import Call, Composed, Keep, Mask, Tokens, comb, span
from jaxgpt.ops.patterns.pattern import Arranged, Arrangement, Extent, Relative, same_order
from jaxgpt.spec.sizes import Index


class Strided(Relative, Arranged):
    """The previous `stride` positions, and every `stride`-th one: for data with a period, such as rows of an image.

    As the paper's formula has it, the local factor reaches from i − l to i: l + 1 positions.
    """

    citation = "Child et al. 2019, section 4.3, A(1) and A(2) of strided attention"
    stride: Extent
    """l."""
    factor: Literal["both", "local", "column"] = "both"

    def near(self, distance: Any) -> Any:
        """0 ≤ d ≤ l (local), or d ≥ 0 a multiple of l (column)."""
        local, column = distance <= self.stride, distance % self.stride == 0
        seen = {"both": local | column, "local": local, "column": column}[self.factor]
        return (distance >= 0) & seen

    def arrange(self, length: int) -> tuple[Arrangement, ...]:
        """Columns become blocks when the tokens are ordered by their position modulo l."""
        row = same_order(length)
        columns = np.argsort(row % self.stride, kind="stable").astype(np.int32)
        if self.factor == "local":
            return (Arrangement(self.allows, row, row, by_distance=True),)
        if self.factor == "column":
            return (Arrangement(self.allows, columns, columns),)
        near = self.evolve(factor="local").allows
        far = self.evolve(factor="column").allows
        return (
            Arrangement(near, row, row, by_distance=True),
            Arrangement(lambda q, k: far(q, k) & (q - k > self.stride), columns, columns),
        )


class Fixed(Arranged, Composed):
    """The own block of `stride` positions, and the last `summary` positions of every block: for text.

    Several heads do better with distinct summaries (section 4.3): `shift` moves this one towards its block's start.
    """

    citation = "Child et al. 2019, section 4.3, A(1) and A(2) of fixed attention"
    stride: Extent
    """l; the paper uses 128 or 256."""
    summary: Extent = 8
    """c; the paper uses 8, 16 or 32."""
    shift: Index = 0
    factor: Literal["both", "block", "summary"] = "both"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.summary > self.stride:
            raise ValueError(f"summary {self.summary} exceeds stride {self.stride}; use at most {self.stride}")
        if not 0 <= self.shift <= self.stride - self.summary:
            raise ValueError(f"shift {self.shift} must lie in 0 ... stride - summary = {self.stride - self.summary}")
        return self

    def allows(self, q: Any, k: Any) -> Any:
        """k ≤ q, and k in q's block (block) or k mod l in [l − c − shift, l − shift) (summary)."""
        seen = {
            "both": lambda: self._block(q, k) | self._summary(k),
            "block": lambda: self._block(q, k),
            "summary": lambda: self._summary(k),
        }[self.factor]()
        return (k <= q) & seen

    def arrange(self, length: int) -> tuple[Arrangement, ...]:
        """Summaries become blocks when the other keys are left out."""
        row = same_order(length)
        summaries = row[self._summary(row)]
        if self.factor == "block":
            return (Arrangement(self.allows, row, row),)
        if self.factor == "summary":
            return (Arrangement(self.allows, row, summaries),)
        own = self.evolve(factor="block").allows
        return (
            Arrangement(own, row, row),
            Arrangement(lambda q, k: (k <= q) & self._summary(k) & ~self._block(q, k), row, summaries),
        )

    def calls(self, length: int) -> tuple[Call, ...]:
        """The own blocks as rows of their own, and the summaries of earlier blocks, halving after halving."""
        l, c, first = self.stride, self.summary, self.stride - self.summary - self.shift  # noqa: E741
        blocks = -(-length // l)
        if self.factor == "summary":
            own = self._own_summary(blocks)
        elif blocks == 1:
            own = (comb(length, 0, 1, length),)
        else:
            block = Tokens(span(0, blocks * l, length).keep, rows=blocks)
            own = (Call(block, block, Mask()),)
        return own if self.factor == "block" else own + _stair(length, l, c, Keep(first, c, l))

    def _own_summary(self, blocks: int) -> tuple[Call, ...]:
        """The own block's summary, as far as it is not ahead: seen from within it, and from the block's end."""
        first, after = self.stride - self.summary - self.shift, self.stride - self.shift
        summary = Tokens((Keep(first, self.summary, self.stride),), rows=blocks)
        within = Call(summary, summary, Mask())
        if not self.shift:
            return (within,)
        return within, Call(Tokens((Keep(after, self.shift, self.stride),), rows=blocks), summary, Mask(causal=False))

    def _block(self, q: Any, k: Any) -> Any:
        return q // self.stride == k // self.stride

    def _summary(self, k: Any) -> Any:
        offset = k % self.stride
        return (offset >= self.stride - self.summary - self.shift) & (offset < self.stride - self.shift)


def _stair(length: int, stride: int, summary: int, summaries: Keep) -> tuple[Call, ...]:
    """The summaries of all earlier blocks: a stair of blocks, cut into rectangles.

    Of every two neighbouring runs of m blocks, for m = 1, 2, 4, ..., the later one sees all summaries of the earlier:
    one call for the whole pairs, and one for a pair that the row's end cuts.
    """
    blocks, calls, m = -(-length // stride), list[Call](), 1
    while m < blocks:
        pairs, rest = divmod(blocks, 2 * m)
        if pairs:
            later, earlier = (
                Tokens(
                    (*span(0, 2 * m * pairs * size, whole).keep, Keep(half * m * size, m * size, 2 * m * size)), pairs
                )
                for half, size, whole in ((1, stride, length), (0, summary, blocks * summary))
            )
            earlier = earlier._replace(keep=(summaries, *earlier.keep))
            calls.append(Call(later, earlier, Mask(causal=False)))
        if rest > m:
            start = 2 * m * pairs
            keys = Tokens((summaries, *span(start * summary, (start + m) * summary, blocks * summary).keep))
            calls.append(Call(span((start + m) * stride, length, length), keys, Mask(causal=False)))
        m *= 2
    return tuple(calls)
