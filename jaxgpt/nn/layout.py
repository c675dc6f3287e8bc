"""Where the tokens of a call stand: positions, segments, their slots in a cache; and what else they may see.

B batch, T tokens, S tokens of a memory, D model width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgpt.ops.attention import SHARED, Numbering, Side
from jaxgpt.spec import ConfigError


class Memory(NamedTuple):
    """Another sequence, which cross-attention sees: an encoder's output, say."""

    states: jax.Array | None
    """(B, S, D); None: keys and values of it are in the caches."""
    pos: jax.Array
    """int32 (S,) or (B, S). Negative marks padding, which nobody sees."""
    segment: jax.Array | None = None
    """int32 (B, S): a token sees those of its own segment; read where the tokens have segments too."""


class Layout(NamedTuple):
    """Positions and segments of T tokens, and where in a cache their keys and values go."""

    pos: jax.Array
    """int32 (T,) or (B, T). Negative marks padding."""
    segment: jax.Array | None = None
    """int32 (B, T): packed documents, which do not see one another; but all see SHARED tokens, see `branching`."""
    numbering: Numbering = "any"
    """What is known of positions while compiling; kernels that visit only some blocks need it."""
    cursor: jax.Array | None = None
    """int32 scalar: the slot of the first token in an endless row of slots. None: no cache."""
    padding: jax.Array | None = None
    """int32 (B,): empty slots on the left of each row's first token: a token's position is its slot less these."""
    capacity: int = 0
    """Slots that will ever be filled: a cache with fewer is a ring."""
    virtual: int = 0
    """Positions in front of the first token's, at which an adapter's tokens stand."""
    memory: Memory | None = None
    """What cross-attention sees; None: blocks have none."""

    def behind(self, n: int) -> "Layout":
        """The same tokens from position `n` on. Padding stays padding.

        Raises ConfigError where rows hold documents apart: what stands in front of a row would be one document's.
        """
        if not n:
            return self
        if self.numbering == "documents":
            raise ConfigError("data.documents: separate ones have positions of their own; virtual tokens need joined")
        return self._replace(pos=moved(self.pos, n), virtual=n)

    def with_virtual(self) -> "Layout":
        """Of `virtual` tokens and the row's own behind them: virtual + T tokens."""
        side = in_front(Side(self.pos, self.segment), self.virtual)
        return self._replace(pos=side.pos, segment=side.segment, virtual=0)

    @classmethod
    def of_rows(cls, tokens_BT: jax.Array, positions: jax.Array | None, segments: jax.Array | None) -> "Layout":
        """Of whole rows. Positions int (B, T) are the row's indices where not given; where they come with segments,
        they must grow by one a token within a segment."""
        numbering: Numbering = "row" if positions is None else "documents" if segments is not None else "any"
        pos = jnp.arange(tokens_BT.shape[1], dtype=jnp.int32) if positions is None else positions
        return cls(pos, segments, numbering)

    @classmethod
    def branching(cls, positions: jax.Array, segments: jax.Array) -> "Layout":
        """Of rows (B, T) that begin with SHARED tokens, behind which several texts go on, each a segment of its own
        whose positions count on from the last of those; padding has a negative position."""
        return cls(positions, segments, "any")


def in_front(side: Side, n: int) -> Side:
    """`n` virtual tokens at positions 0 to n - 1, and the given ones behind them, (n + S,) or (B, n + S). Their segment
    is the row's largest: that of its tokens, where the others are padding; or SHARED, where some of the row's are."""
    first = jnp.broadcast_to(jnp.arange(n, dtype=side.pos.dtype), (*side.pos.shape[:-1], n))
    pos, segment = jnp.concatenate([first, side.pos], -1), side.segment
    if segment is not None:
        of_tokens, least = (f(segment, 1, keepdims=True) for f in (jnp.max, jnp.min))
        own = jnp.where(least == SHARED, SHARED, of_tokens)
        segment = jnp.concatenate([jnp.repeat(own, n, 1), segment], 1)
    return Side(pos, segment)


def moved(pos: jax.Array, n: int) -> jax.Array:
    """Positions `n` further on; negative ones, of padding, stay as they are."""
    return jnp.where(pos < 0, pos, pos + n) if n else pos
