"""An affine map as a value: what a projection computes, and what an adapter may put something around."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from jaxgpt.ops.matmul import project
from jaxgpt.ops.stored import Stored


class Affine(NamedTuple):
    """x ↦ x W + b, from I numbers to O."""

    weight_IO: jax.Array | Stored
    """As it is stored."""
    bias_O: jax.Array | None
    dtype: DTypeLike
    """What is computed in."""
    beyond: int = 0
    """Outputs behind its own, which are 0."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """x W + b: (..., I) -> (..., O + beyond)."""
        y = self.product(x)
        if self.bias_O is None:
            return y
        # Saved so for the backward pass: the product adds a bias for nothing.
        return checkpoint_name(y + self.widened(self.bias_O), "linear")

    def product(self, x: jax.Array) -> jax.Array:
        """x W: (..., I) -> (..., O + beyond)."""
        x = x.astype(self.dtype)
        if isinstance(self.weight_IO, Stored):
            return self.widened(project(x, self.weight_IO))
        return project(x, self.widened(self.weight_IO))

    def widened(self, a: jax.Array) -> jax.Array:
        """(..., O) -> (..., O + beyond) by zeros, in the dtype that is computed in."""
        return jnp.pad(a.astype(self.dtype), [(0, 0)] * (a.ndim - 1) + [(0, self.beyond)])

    @property
    def shape(self) -> tuple[int, int]:
        """(I, O)."""
        return self.weight_IO.shape[0], self.weight_IO.shape[1]
