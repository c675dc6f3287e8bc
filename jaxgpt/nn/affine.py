"""An affine map as a value: what a projection computes, and what an adapter may put something around."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxgpt.ops.matmul import project


class Affine(NamedTuple):
    """x ↦ x W + b from I to O numbers, in the dtype that W and b have."""

    weight_IO: jax.Array
    bias_O: jax.Array | None
    beyond: int = 0
    """Outputs behind its own, which are 0."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """x W + b: (..., I) -> (..., O + beyond)."""
        y = self.product(x)
        # Saved so for the backward pass: the product adds a bias for nothing.
        return y if self.bias_O is None else checkpoint_name(y + self.widen(self.bias_O), "linear")

    def product(self, x: jax.Array) -> jax.Array:
        """x W: (..., I) -> (..., O + beyond)."""
        return project(x.astype(self.weight_IO.dtype), self.widen(self.weight_IO))

    def widen(self, a: jax.Array) -> jax.Array:
        """(..., O) -> (..., O + beyond), by zeros."""
        return jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, self.beyond)])
