"""Where the tokens of a call stand: positions, segments, and their slots in a cache."""

from typing import NamedTuple

import jax


class Layout(NamedTuple):
    """Placement of T tokens, and of the S keys they may see when there is a cache."""

    pos: jax.Array
    """int32 (T,) or (B, T). Negative marks padding."""
    segment: jax.Array | None = None
    """int32 (B, T): packed documents, which do not see one another."""
    slot: jax.Array | None = None
    """int32 scalar: the cache slot of the first token. None: no cache."""
    slot_pos: jax.Array | None = None
    """int32 (B, S): the position held by each cache slot after this call's write; negative where empty."""


class KV(NamedTuple):
    """One layer's cache: keys (already rotated) and values, (B, G, S, K)."""

    k: jax.Array
    v: jax.Array
