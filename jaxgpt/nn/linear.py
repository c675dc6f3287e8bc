"""Affine maps, and the one value that says how all those of a model are made."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from jaxgpt.ops.matmul import project


class Linear(nn.Module):
    """x·weight + bias: (..., in) -> (..., out). float32 parameters, computed in `dtype`."""

    features: int
    dtype: DTypeLike
    std: float
    bias: bool

    @nn.compact
    def __call__(self, x: jax.Array, columns: int | None = None) -> jax.Array:
        """x W + b over the last axis; any leading axes. `columns`: as many features, those beyond its own 0."""
        weight = self.param("weight", nn.initializers.normal(self.std), (x.shape[-1], self.features), jnp.float32)
        beyond = 0 if columns is None else columns - self.features
        y = project(x.astype(self.dtype), jnp.pad(weight.astype(self.dtype), ((0, 0), (0, beyond))))
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(self.dtype)
            y = checkpoint_name(y + jnp.pad(bias, (0, beyond)), "linear")  # saved so: the product adds it for nothing
        return y


class Linears(NamedTuple):
    """How every affine map of a model is made, those of its heads too."""

    dtype: DTypeLike
    std: float
    """Standard deviation of the normal start."""
    residual_std: float
    """The same for projections that write into the residual stream."""
    bias: bool
    """Whether they have biases where nothing else is said."""

    def __call__(self, features: int, name: str, into_residual: bool = False, bias: bool | None = None) -> Linear:
        """A projection to `features`, a child of the module that calls. `bias` None: as the model has it."""
        std = self.residual_std if into_residual else self.std
        return Linear(features, self.dtype, std, self.bias if bias is None else bias, name=name)
