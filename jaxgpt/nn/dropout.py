"""Dropout whose rate may be an input of the compiled program."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgpt.ops.random_masks import bernoulli, row_keys
from jaxgpt.spec.inputs import enabled


class Dropout(nn.Module):
    """Zeroes that share of the entries and scales the rest up (Srivastava et al. 2014); at a plain 0 draws nothing."""

    rate: float | jax.Array
    locked: bool = False
    """Whether the same numbers are dropped at all tokens of a row, along axis 1 (Gal & Ghahramani 2016)."""

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Keeps shape and dtype, whatever they are. Draws from the rng stream `dropout`."""
        if deterministic or not enabled(self.rate):
            return x
        keep = 1 - jnp.float32(self.rate)
        shape = (x.shape[0], 1, *x.shape[2:]) if self.locked else x.shape
        mask = bernoulli(row_keys(self.make_rng("dropout")), keep, shape)
        return jnp.where(mask, x / keep.astype(x.dtype), jnp.zeros_like(x))
