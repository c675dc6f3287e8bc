"""What stands on the hidden states of a trunk: BERT's heads. D model width, V vocabulary."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgpt.nn.linear import Linears
from jaxgpt.nn.norm import Norm
from jaxgpt.ops.activations import Activation


class Pooler(nn.Module):
    """Dense and tanh: (..., D) -> (..., D). Parameters `dense` (google-research/bert, modeling.py)."""

    linears: Linears

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """The summary of a row, given the hidden state of its first token."""
        return jnp.tanh(self.linears(h.shape[-1], "dense", bias=True)(h))


class MaskedHead(nn.Module):
    """Dense, activation and norm, then the token table as output, with a bias of its own: (..., D) -> (..., V).

    Parameters `dense`, `norm`, `bias` (google-research/bert, run_pretraining.py).
    """

    vocab_size: int
    linears: Linears
    activation: Activation
    norm: Norm

    @nn.compact
    def __call__(
        self, h: jax.Array, attend: Callable[[jax.Array, int | None], jax.Array], columns: int | None = None
    ) -> jax.Array:
        """`attend(h, columns)` scores (..., D) against the token table."""
        h = self.activation(self.linears(h.shape[-1], "dense", bias=True)(h))
        bias = self.param("bias", nn.initializers.zeros, (self.vocab_size,), jnp.float32)
        bias = jnp.pad(bias, (0, 0 if columns is None else columns - self.vocab_size))
        return attend(self.norm.module("norm")(h), columns) + bias.astype(self.linears.dtype)
