"""How the next token is drawn. B rows, V vocabulary."""

from typing import Any

import jax
import jax.numpy as jnp
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from jaxgpt.spec import Spec, parse


class Sampling(Spec):
    """Greedy at temperature 0; otherwise a draw from the tempered distribution, cut by top-k, then by top-p."""

    temperature: NonNegativeFloat = 0.0
    top_k: PositiveInt | None = None
    """Keep the k likeliest (Fan et al. 2018)."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Keep the likeliest that together reach p: nucleus sampling (Holtzman et al. 2020)."""
    repetition_penalty: PositiveFloat | None = None
    """Logits of tokens already in the row are divided by it, or multiplied when negative (CTRL, Keskar et al. 2019)."""

    @classmethod
    def checked(cls, **fields: Any) -> "Sampling":
        """A Sampling from user input. Raises ConfigError for a value out of range."""
        return parse(cls, fields)

    def draw(self, logits_BV: jax.Array, seen_BV: jax.Array | None, key: jax.Array) -> jax.Array:
        """int32 (B,). `seen_BV` marks the tokens already in each row; needed with a repetition penalty only."""
        logits_BV = logits_BV.astype(jnp.float32)
        if self.repetition_penalty is not None and seen_BV is not None:
            pushed = jnp.where(logits_BV > 0, logits_BV / self.repetition_penalty, logits_BV * self.repetition_penalty)
            logits_BV = jnp.where(seen_BV, pushed, logits_BV)
        if self.temperature == 0:
            return jnp.argmax(logits_BV, -1).astype(jnp.int32)
        logits_BV = logits_BV / self.temperature
        if self.top_k is not None and self.top_k < logits_BV.shape[-1]:
            least = jax.lax.top_k(logits_BV, self.top_k)[0][:, -1:]
            logits_BV = jnp.where(logits_BV < least, -jnp.inf, logits_BV)
        if self.top_p is not None and self.top_p < 1:
            logits_BV = jnp.where(logits_BV < _nucleus_edge(logits_BV, self.top_p), -jnp.inf, logits_BV)
        return jax.random.categorical(key, logits_BV).astype(jnp.int32)


def _nucleus_edge(logits_BV: jax.Array, p: float) -> jax.Array:
    """(B, 1): the smallest logit kept. The likeliest token always is."""
    sorted_BV = jnp.flip(jnp.sort(logits_BV, -1), -1)
    before_BV = jnp.cumsum(jax.nn.softmax(sorted_BV, -1), -1) - jax.nn.softmax(sorted_BV, -1)
    return jnp.min(jnp.where(before_BV < p, sorted_BV, jnp.inf), -1, keepdims=True)
