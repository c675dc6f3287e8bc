"""The kernel seam: what computes softmax(QKᵀ)V for a pattern.

B batch, T queries, S keys, H query heads, G key/value heads (H a multiple of G), K head width.
"""

from abc import abstractmethod
from typing import NamedTuple

import jax

from jaxgpt.ops.patterns import Pattern
from jaxgpt.spec import Seam


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
    bias: jax.Array | None = None
    """float32 (H, T, S) or (B, H, T, S), added to the scaled scores."""
    soft_cap: float | None = None
    """Scores become cap·tanh(score / cap) before the bias (Gemma 2)."""
    dropout: float = 0.0
    dropout_key: jax.Array | None = None


class Kernel(Seam, seam="kernel"):
    """Base of all attention kernels."""

    @abstractmethod
    def attend(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores) -> jax.Array:
        """Returns (B, H, T, K) in the queries' dtype. A query that sees no key gets zeros.

        Raises ConfigError, naming a kernel that can, for a case this kernel does not compute exactly.
        """
