"""The kernel seam: what computes softmax(QKᵀ)V for a pattern.

B batch, T queries, S keys, H query heads, G key/value heads (H a multiple of G), K head width.
"""

from abc import abstractmethod
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxgpt.ops.attention.split import split_of
from jaxgpt.ops.dropping import fold_in
from jaxgpt.ops.patterns import Pattern, is_relative, shares
from jaxgpt.ops.positions import Biased
from jaxgpt.ops.setting import on
from jaxgpt.spec import ConfigError, Seam

Places = Literal["row", "documents", "any"]
"""What is known of positions while compiling. `row`: queries and keys are the same tokens and a position is the index
in the row. `documents`: the same tokens, and within a segment positions grow by one an index. `any`: nothing."""


class Bias(NamedTuple):
    """A term added to the scores, computed where it is needed, so that no (T, S) array is."""

    position: Biased
    table_H: jax.Array
    """float32 (H, ...): what the position's `bias` reads; gradients flow into it."""


class Scores(NamedTuple):
    """Everything that shapes the scores besides queries and keys."""

    pattern: Pattern
    q_pos: jax.Array
    """int32 (T,) or (B, T)."""
    k_pos: jax.Array
    """int32 (S,) or (B, S); negative marks a key that nobody may see (padding, an empty cache slot)."""
    q_segment: jax.Array | None = None
    k_segment: jax.Array | None = None
    """int32 (B, T) and (B, S): where given, a query sees keys of its own segment only."""
    bias: Bias | None = None
    """Added to the scaled (and capped) scores."""
    soft_cap: float | None = None
    """Scores become cap·tanh(score / cap) (Gemma 2)."""
    dropout: float | jax.Array = 0.0
    dropout_key: jax.Array | None = None
    """Where given, that share of the attention weights is zeroed, the rest scaled up. One key, or (B,): one a row."""
    places: Places = "any"


class Case(NamedTuple):
    """What a kernel decides by: all of it is known before anything is compiled."""

    pattern: Pattern
    queries: int
    keys: int
    d_head: int
    dtype: str
    platform: str
    """`cpu`, `gpu` or `tpu`."""
    places: Places = "any"
    segments: bool = False
    bias: bool = False
    soft_cap: bool = False
    dropout: bool = False
    token_parts: int = 1
    """Devices that share a row's tokens: ways that the mesh splits `queries` and `keys` alike."""

    @property
    def static(self) -> bool:
        """Whether the pattern's blocks are known: no allowed pair can lie outside them."""
        return self.places == "row" or (self.places == "documents" and self.segments and is_relative(self.pattern))

    def moving(self) -> str:
        """Why they are not."""
        if self.places == "documents":
            return f"cannot lay out pattern '{self.pattern.kind}', which counts from each packed document's start"
        return "cannot lay out positions that are known only when it runs (a cache, or positions of one's own)"


class Kernel(Seam, seam="kernel"):
    """Base of all attention kernels."""

    @abstractmethod
    def refusal(self, case: Case) -> str | None:
        """Why this kernel cannot compute `case` exactly, and which can: `cannot ...; use chunked`. None: it can."""

    @abstractmethod
    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores) -> jax.Array:
        """See `attend`, for a case that is not refused and heads of one pattern."""

    def attend(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores) -> jax.Array:
        """Returns (B, H, T, K) in the queries' dtype. A query that sees no key gets zeros.

        Raises ConfigError, naming a kernel that can, for a case this kernel does not compute exactly.
        """
        parts = shares(scores.pattern)
        H, G = q_BHTK.shape[1], k_BGSK.shape[1]
        each = H // len(parts)
        if G % len(parts):  # a share's heads would split a group: give every query head its own keys and values
            k_BGSK, v_BGSK = (jnp.repeat(x, H // G, axis=1) for x in (k_BGSK, v_BGSK))
        out = []
        for i, part in enumerate(parts):
            mine = scores._replace(pattern=part)
            if len(parts) > 1:
                if scores.bias is not None:
                    mine = mine._replace(bias=scores.bias._replace(table_H=scores.bias.table_H[i * each :][:each]))
                if scores.dropout_key is not None:
                    mine = mine._replace(dropout_key=fold_in(scores.dropout_key, i))
            groups = k_BGSK.shape[1] // len(parts)
            q, k, v = q_BHTK[:, i * each :][:, :each], *(x[:, i * groups :][:, :groups] for x in (k_BGSK, v_BGSK))
            self.check(case_of(q, k, mine))
            out.append(self.compute(q, k, v, mine))
        return out[0] if len(out) == 1 else jnp.concatenate(out, axis=1)

    def check(self, case: Case) -> None:
        """Raises ConfigError when `case` is refused."""
        why = self.refusal(case)
        if why is not None:
            raise ConfigError(f"exec.kernel: {self.kind} {why}")


class Chooser(Kernel):
    """A kernel that leaves the work to another."""

    @abstractmethod
    def choose(self, case: Case) -> Kernel:
        """The kernel for a case, all of one pattern (not per_head)."""


def case_of(q_BHTK: jax.Array, k_BGSK: jax.Array, scores: Scores) -> Case:
    """The static facts of a call, on the default backend and the mesh it is traced for."""
    split = split_of(q_BHTK.shape) if q_BHTK.shape[2] == k_BGSK.shape[2] else None
    return Case(
        pattern=scores.pattern,
        queries=q_BHTK.shape[2],
        keys=k_BGSK.shape[2],
        d_head=q_BHTK.shape[3],
        dtype=q_BHTK.dtype.name,
        platform=jax.default_backend(),
        places=scores.places,
        segments=scores.q_segment is not None,
        bias=scores.bias is not None,
        soft_cap=scores.soft_cap is not None,
        dropout=scores.dropout_key is not None and on(scores.dropout),
        token_parts=1 if split is None else split.parts,
    )
