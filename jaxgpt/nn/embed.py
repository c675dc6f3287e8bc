"""Token and position embeddings, and the tied output. B batch, T tokens, D model width, V vocabulary."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxgpt.nn.layout import Layout
from jaxgpt.ops.lookup import lookup, unproject
from jaxgpt.ops.placing import place
from jaxgpt.ops.positions import Added, Biased, Learned, Position


class Embed(nn.Module):
    """Parameters `token` (V, D); `position` (context, D) where positions are learned, `bias` (H, ...) where they bias
    the scores by a trained table, one for all layers."""

    vocab_size: int
    d_model: int
    num_heads: int
    context: int
    position: Position
    std: float
    dtype: DTypeLike

    def setup(self) -> None:
        """Declares the tables."""
        self.token = self.param("token", nn.initializers.normal(self.std), (self.vocab_size, self.d_model), jnp.float32)
        if isinstance(self.position, Learned):
            start = nn.initializers.normal(self.position.init_std)
            self.place = self.param("position", start, (self.context, self.d_model), jnp.float32)
        self.bias_table = None
        if isinstance(self.position, Biased) and self.position.trained:
            table = self.position.table(self.num_heads)
            self.bias_table = self.param("bias", lambda _: jnp.asarray(table))

    def __call__(self, tokens_BT: jax.Array, layout: Layout) -> jax.Array:
        """int (B, T) -> (B, T, D)."""
        x_BTD = place(
            lookup(self.token, tokens_BT, "vocabulary_gradient"), "sublayer"
        )  # summed over a split vocabulary before it is cut
        if isinstance(self.position, Learned):
            x_BTD = x_BTD + self._at(self.place, layout.pos)
        elif isinstance(self.position, Added):
            x_BTD = x_BTD + self._at(jnp.asarray(self.position.table(self.context, self.d_model)), layout.pos)
        return x_BTD.astype(self.dtype)

    def attend(self, h: jax.Array) -> jax.Array:
        """(..., D) -> (..., V): scores against the token table (tied output)."""
        return unproject(h.astype(self.dtype), self.token.astype(self.dtype))

    def _at(self, table: jax.Array, pos: jax.Array) -> jax.Array:
        return lookup(table, jnp.clip(pos, 0, self.context - 1))
