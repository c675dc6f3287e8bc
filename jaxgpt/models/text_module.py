"""What the modules of all models say of a text as a whole. B batch, T tokens, D model width."""

from abc import abstractmethod

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgpt.models.model import Model


class TextModule(nn.Module):
    """Base of modules: a model's own names `text_head`, or None, in `setup`."""

    spec: Model

    @abstractmethod
    def states(
        self,
        tokens_BT: jax.Array,
        segments: jax.Array | None = None,
        train: bool = False,
        every: bool = True,
        token_types: jax.Array | None = None,
    ) -> list[jax.Array]:
        """The outputs (B, T, D) of all layers, or of the last alone."""

    def summarise(
        self,
        tokens_BT: jax.Array,
        segments: jax.Array | None = None,
        train: bool = False,
        token_types: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """int (B, T) -> final hidden states (B, T, D), and what `text_head` pools of each row's tokens, those with a
        segment above 0: float32 (B, D)."""
        if self.text_head is None or self.spec.text_head is None:
            raise ValueError("model.text_head is not set: the model says nothing of a text as a whole")
        real_BT = jnp.ones_like(tokens_BT, bool) if segments is None else segments > 0
        states = self.states(tokens_BT, segments, train, self.spec.text_head.layered, token_types)
        return states[-1], self.text_head.pool(states, real_BT, self.summary)

    def judge(self, pooled: jax.Array, train: bool = False) -> jax.Array:
        """(..., D) -> float32 (..., size): what `text_head` makes of pooled states."""
        return self.text_head(pooled, train)

    def represent(
        self,
        tokens_BT: jax.Array,
        segments: jax.Array | None = None,
        train: bool = False,
        token_types: jax.Array | None = None,
    ) -> jax.Array:
        """int (B, T) -> float32 (B, size): what `text_head` makes of each row. See `summarise`."""
        return self.judge(self.summarise(tokens_BT, segments, train, token_types)[1], train)

    @abstractmethod
    def summary(self, hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
        """(B, D): what the model itself sums up each row's real tokens to."""
