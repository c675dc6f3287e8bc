"""What shapes the scores of a call besides the values of its queries and keys.

B batch, T queries, S keys, H query heads, G key/value heads, K head width.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax

from jaxgpt.ops.patterns import Pattern
from jaxgpt.ops.positions import Biased
from jaxgpt.ops.random_masks import bernoulli, fold_in

Numbering = Literal["row", "documents", "any"]
"""How positions number the tokens, as far as that is known while compiling. `row`: queries and keys are the same tokens
and a position is the index in the row. `documents`: the same tokens, and within a segment positions grow by one an
index. `any`: nothing is known."""


SHARED = -1
"""The segment of tokens that those of every segment see, as what several texts begin with."""


class Side(NamedTuple):
    """Positions and segments of a call's queries or of its keys."""

    pos: jax.Array
    """int32 (T,) or (B, T). A negative one marks a key that nobody may see (padding, an empty cache slot)."""
    segment: jax.Array | None = None
    """int32 (B, T): where given, a query sees keys of its own segment only, and with numbering `any` SHARED ones."""


class AttentionDropout(NamedTuple):
    """The share of the attention weights that is zeroed, the rest scaled up, and what it is drawn from."""

    key: jax.Array
    """Data of a key (`jax.random.key_data`), or (B, ...), of one a row: arrays that a loop can carry."""
    rate: jax.Array
    """float32 scalar."""

    def folded(self, *numbers: int | jax.Array) -> "AttentionDropout":
        """What a part of the weights draws from: the key with the part's numbers folded in."""
        key = jax.random.wrap_key_data(self.key)
        for number in numbers:
            key = fold_in(key, number)
        return self._replace(key=jax.random.key_data(key))

    def keep(self, shape: tuple[int, ...]) -> jax.Array:
        """What weights (B, H, T, S) are multiplied by, float32: 0 with probability `rate`, else 1 / (1 − rate)."""
        return bernoulli(jax.random.wrap_key_data(self.key), 1 - self.rate, shape) / (1 - self.rate)


class Operands(NamedTuple):
    """The arrays of a call of attention, or of a part of one: queries of some tokens and keys of some."""

    q_BHTK: jax.Array
    k_BGSK: jax.Array
    v_BGSK: jax.Array
    table_H: jax.Array | None
    """See `Scores.table_H`."""
    q_side: Side
    k_side: Side
    dropout: AttentionDropout | None


class Rule(NamedTuple):
    """What turns products into scores; all of it is known while compiling."""

    allows: Callable[[Any, Any], Any]
    soft_cap: float | None
    position: Biased | None


class Scores(NamedTuple):
    """Everything that shapes the scores besides queries and keys."""

    pattern: Pattern
    q: Side
    k: Side
    position: Biased | None = None
    """Its bias is added to the scaled (and capped) scores, computed where it is needed, so that no (T, S) array is."""
    table_H: jax.Array | None = None
    """float32 (H, ...): what the position's `bias` reads; gradients flow into it."""
    soft_cap: float | None = None
    """Scores become cap·tanh(score / cap) (Gemma 2)."""
    dropout: AttentionDropout | None = None
    numbering: Numbering = "any"

    @property
    def rule(self) -> Rule:
        """The part that is known while compiling."""
        return Rule(self.pattern.allows, self.soft_cap, self.position)

    def operands(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array) -> Operands:
        """The part that is not, with the queries, keys and values of a call."""
        return Operands(q_BHTK, k_BGSK, v_BGSK, self.table_H, self.q, self.k, self.dropout)
