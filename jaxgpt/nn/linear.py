"""Affine maps, and the one value that says how all those of a model are made."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.nn.affine import Affine
from jaxgpt.ops.stored import is_stored

PROJECTIONS = r"blocks/layers/(cross_)?(attention|feed_forward)/(q|k|v|o|gate|up|down)/weight$"
"""Paths of the weights of blocks' projections, without experts, routers, embeddings, norms and heads."""


class Linear(nn.Module):
    """x·weight + bias: (..., in) -> (..., out). float32 parameters, computed in `dtype`."""

    features: int
    dtype: DTypeLike
    std: float
    bias: bool
    adapter: Adapter | None = None
    below: str = ""
    """Path of the module that its own path starts from, with a `/` behind it."""

    @nn.compact
    def __call__(self, x: jax.Array, columns: int | None = None) -> jax.Array:
        """x W + b over the last axis, or what the adapter makes of it; any leading axes. `columns`: as many features,
        those beyond its own 0."""
        weight = self.get_variable("params", "weight")
        if not is_stored(weight):  # whose shape Linen would not know
            start = nn.initializers.normal(self.std)
            weight = self.param("weight", start, (x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32) if self.bias else None
        affine = Affine(weight, bias, self.dtype, 0 if columns is None else columns - self.features)
        if self.adapter is None:
            return affine(x)
        place = Place(self.below + "/".join(self.path), name="adapter")
        return place(self.adapter.project, x, affine)


class Linears(NamedTuple):
    """How every affine map of a model is made, those of its heads too."""

    dtype: DTypeLike
    std: float
    """Standard deviation of the normal start."""
    residual_std: float
    """The same for projections that write into the residual stream."""
    bias: bool
    """Whether they have biases where nothing else is said."""
    adapter: Adapter | None = None
    """What may stand on them."""
    below: str = ""
    """Path of the module that paths of projections start from, with a `/` behind it: `blocks/layers/` in a block."""

    def __call__(self, features: int, name: str, into_residual: bool = False, bias: bool | None = None) -> Linear:
        """A projection to `features`, a child of the module that calls. `bias` None: as the model has it."""
        std = self.residual_std if into_residual else self.std
        has_bias = self.bias if bias is None else bias
        return Linear(features, self.dtype, std, has_bias, self.adapter, self.below, name=name)

    def within(self, *names: str) -> "Linears":
        """The same for modules that are applied apart, whose own paths start at the child of those names."""
        return self._replace(below=self.below + "".join(f"{name}/" for name in names))
