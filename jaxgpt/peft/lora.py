"""Low-rank adaptation. I inputs and O outputs of a projection, r rank."""

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import Field, PositiveFloat

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.nn.affine import Affine
from jaxgpt.ops.matmul import project
from jaxgpt.peft.targets import projections, unmet
from jaxgpt.spec.rules import Rule, names
from jaxgpt.spec.sizes import Width


class LoRA(Adapter, kind="lora"):
    """Adds (α/r)·x A B to the projections that `targets` name: A (I, r) starts uniform within ±1/√I, B (r, O) at 0."""

    citation = "Hu et al. 2021 (LoRA), section 4.1"
    targets: Annotated[tuple[Rule, ...], Field(min_length=1)] = ("attention/[qv]$",)
    """Regular expressions over paths of projections (`blocks/layers/attention/q`): those in whose path one is found."""
    rank: Width = 8
    alpha: PositiveFloat = 16.0

    def project(self, place: Place, x: jax.Array, affine: Affine) -> jax.Array:
        """x W + b + (α/r)·x A B, where targets name the projection."""
        if not names(self.targets, place.at):
            return affine(x)
        inputs, outputs = affine.weight_IO.shape
        a_IR = place.param("a", uniform_of_inputs, (inputs, self.rank), jnp.float32)
        b_RO = place.param("b", nn.initializers.zeros, (self.rank, outputs), jnp.float32)
        low = project(x, a_IR.astype(x.dtype))
        return affine(x) + (self.alpha / self.rank) * project(low, affine.widen(b_RO.astype(x.dtype)))

    def problems(self, shapes: Mapping[str, Any]) -> list[str]:
        """Targets that name no projection."""
        return unmet("targets", self.targets, projections(shapes), "projection")


def uniform_of_inputs(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Uniform within ±1/√I for a shape (I, r): the start of torch's linear layers, and of A in microsoft/LoRA."""
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)
