"""Where the tokens of a call stand: positions, segments, and their slots in a cache."""

from typing import NamedTuple

import jax

from jaxgpt.ops.attention import Places


class Layout(NamedTuple):
    """Placement of T tokens, and of those that a cache holds."""

    pos: jax.Array
    """int32 (T,) or (B, T). Negative marks padding."""
    segment: jax.Array | None = None
    """int32 (B, T): packed documents, which do not see one another."""
    places: Places = "any"
    """What is known of positions while compiling; kernels that visit only some blocks need it."""
    bias_table: jax.Array | None = None
    """float32 (H, ...): the trained table of a position that biases scores."""
    slot: jax.Array | None = None
    """int32 scalar: the slot of the first token in an endless row of slots. None: no cache."""
    lacks: jax.Array | None = None
    """int32 (B,): empty slots before each row's first token: a token's position is its slot less these."""
    slots: int = 0
    """Slots that will ever be filled: a cache with fewer is a ring."""
