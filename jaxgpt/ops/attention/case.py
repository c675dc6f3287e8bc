"""What a kernel decides by: all of it is known before anything is compiled.

Of a call that is being traced it is read off the arrays; of a run that is not yet, off the model's fields. Both must
agree: what is refused is refused before anything compiles, and `auto` chooses what a run's provenance says.
"""

from typing import NamedTuple

import jax

from jaxgpt.ops.attention.scores import Numbering, Scores
from jaxgpt.ops.attention.split import split_of
from jaxgpt.ops.patterns import Pattern, is_relative
from jaxgpt.ops.sharding import platform


class Case(NamedTuple):
    """A call of attention, heads of one pattern."""

    pattern: Pattern
    queries: int
    keys: int
    d_head: int
    dtype: str
    platform: str
    """`cpu`, `gpu` or `tpu`."""
    numbering: Numbering = "any"
    segments: bool = False
    bias: bool = False
    soft_cap: bool = False
    dropout: bool = False
    token_parts: int = 1
    """Devices that share a row's tokens: ways that the mesh splits `queries` and `keys` alike."""

    @property
    def blocks_known(self) -> bool:
        """Whether no allowed pair of tokens can lie outside the blocks that the pattern keeps in a row."""
        return self.numbering == "row" or (
            self.numbering == "documents" and self.segments and is_relative(self.pattern)
        )

    def why_unknown(self) -> str:
        """Why the blocks are not known, as a refusal says it."""
        if self.numbering == "documents":
            return f"cannot lay out pattern '{self.pattern.kind}', which counts from each packed document's start"
        return "cannot lay out positions that are known only when it runs (a cache, or positions of one's own)"


def case_of_call(q_BHTK: jax.Array, k_BGSK: jax.Array, scores: Scores) -> Case:
    """The case of a call, on the platform and the mesh which it is traced for."""
    split = split_of(q_BHTK.shape) if q_BHTK.shape[2] == k_BGSK.shape[2] else None
    return Case(
        pattern=scores.pattern,
        queries=q_BHTK.shape[2],
        keys=k_BGSK.shape[2],
        d_head=q_BHTK.shape[3],
        dtype=q_BHTK.dtype.name,
        platform=platform(),
        numbering=scores.numbering,
        segments=scores.q.segment is not None,
        bias=scores.position is not None,
        soft_cap=scores.soft_cap is not None,
        dropout=scores.dropout is not None,
        token_parts=1 if split is None else split.parts,
    )
