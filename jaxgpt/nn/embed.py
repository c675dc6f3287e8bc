"""Token, position and segment embeddings, and the tied output. B batch, T tokens, D model width, V vocabulary."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.nn.layout import Layout
from jaxgpt.ops.lookup import lookup, unproject
from jaxgpt.ops.positions import Added, Position, PositionEmbedding
from jaxgpt.ops.sharding import constrain


class Embed(nn.Module):
    """Parameters `token` (V, D), unless `tokens_of` has it; `position` (first_row + context, D) of a PositionEmbedding,
    `token_type` (types, D) where tokens have types, below `adapter` those of an adapter."""

    vocab_size: int
    d_model: int
    context: int
    position: Position
    std: float
    dtype: DTypeLike
    token_types: int = 0
    scale: float | None = None
    """What a token's vector is multiplied by on the way in, not where the output scores against it."""
    tokens_of: "Embed | None" = None
    """Whose token table it reads, in place of one of its own."""
    added: Adapter | None = None
    """What may change what is looked up, and has the vectors of ids from V on, where there are such."""

    def setup(self) -> None:
        """Declares the tables; a later one leaves the start of those before it as it was."""
        if self.tokens_of is None:
            start, shape = nn.initializers.normal(self.std), (self.vocab_size, self.d_model)
            self.token = self.param("token", start, shape, jnp.float32)
        else:
            self.token = self.tokens_of.token
        if isinstance(self.position, PositionEmbedding):
            rows = self.position.first_row + self.context
            self.position_table = self.param("position", self.position.start, (rows, self.d_model), jnp.float32)
        if self.token_types:
            shape = (self.token_types, self.d_model)
            self.type_table = self.param("token_type", nn.initializers.normal(self.std), shape, jnp.float32)
        if self.added is not None:
            self.adapter = Place("/".join(self.path))

    def __call__(self, tokens_BT: jax.Array, layout: Layout, token_types: jax.Array | None = None) -> jax.Array:
        """int (B, T) -> (B, T, D). `token_types` int (B, T): 0 everywhere where not given."""
        x_BTD = constrain(
            lookup(self.token, tokens_BT, "vocabulary_gradient"), "sublayer"
        )  # summed over a split vocabulary before it is cut
        if self.added is not None:
            x_BTD = self.adapter(self.added.look_up, tokens_BT, x_BTD, self.vocab_size)
            x_BTD = self._with_virtual(x_BTD, tokens_BT - self.vocab_size)
        if self.scale is not None:
            x_BTD = x_BTD * self.scale
        if isinstance(self.position, PositionEmbedding):
            x_BTD = x_BTD + self._at(self.position_table, layout.pos, self.position.first_row)
        elif isinstance(self.position, Added):
            x_BTD = x_BTD + self._at(jnp.asarray(self.position.table(self.context, self.d_model)), layout.pos)
        if self.token_types:
            alike = token_types is None or self.token_types == 1  # RoBERTa has one type, of pairs too
            x_BTD = x_BTD + (self.type_table[0] if alike else lookup(self.type_table, token_types))
        return x_BTD.astype(self.dtype)

    def attend(self, h: jax.Array, columns: int | None = None) -> jax.Array:
        """(..., D) -> (..., V), or (..., columns): scores against the token table (tied output)."""
        return unproject(h.astype(self.dtype), self.token.astype(self.dtype), columns)

    def _with_virtual(self, x_BTD: jax.Array, index_BT: jax.Array) -> jax.Array:
        """The vectors where the index is negative, else the adapter's of that index."""
        assert self.added is not None
        vectors = self.adapter(self.added.embed, self.d_model)
        if vectors is None:
            return x_BTD
        return jnp.where((index_BT < 0)[..., None], x_BTD, lookup(vectors, jnp.maximum(index_BT, 0)))

    def _at(self, table: jax.Array, pos: jax.Array, offset: int = 0) -> jax.Array:
        return lookup(table, jnp.clip(pos, 0, self.context - 1) + offset)
