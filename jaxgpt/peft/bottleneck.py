"""Bottleneck adapters: two small layers behind a part of a block. T tokens, D model width, r inner width."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from pydantic import PositiveFloat

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.ops.activations import GELU, Activation
from jaxgpt.ops.matmul import project
from jaxgpt.spec.sizes import Width

PARTS = {"houlsby": ("attention", "cross_attention", "feed_forward"), "pfeiffer": ("feed_forward",)}
"""After which parts of a block adapters stand."""


class Bottleneck(Adapter, kind="adapter"):
    """y + up(activation(down(y))) of what a part of a block gives, before the residual sum: down (D, r) and up (r, D),
    both with biases that start at 0. By default `up` starts at 0 too, and the adapter as the identity."""

    citation = "Houlsby et al. 2019, section 2; Pfeiffer et al. 2020 (AdapterFusion), section 5.2"
    width: Width = 64
    """r."""
    place: Literal["houlsby", "pfeiffer"] = "houlsby"
    """`houlsby`: after attention and after the feed-forward layer; `pfeiffer`: after the latter alone."""
    activation: Activation = GELU()
    init_std: PositiveFloat | None = None
    """Standard deviation from which both weights start, cut off at two of them; Houlsby et al. take 1e-3. None: `down`
    starts uniform within ±1/√D and `up` at 0 (He et al. 2022)."""

    def sublayer(self, place: Place, y: jax.Array) -> jax.Array:
        """(..., D) -> (..., D), where the part is one of those that have an adapter."""
        if place.at.rsplit("/", 1)[-1] not in PARTS[self.place]:
            return y
        D = y.shape[-1]
        inner = self.activation(_affine(place, "down", y, self.width, self._start(_uniform_within(D**-0.5))))
        return y + _affine(place, "up", inner, D, self._start(nn.initializers.zeros))

    def _start(self, default: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        return default if self.init_std is None else nn.initializers.truncated_normal(self.init_std)


def _affine(place: Place, name: str, x: jax.Array, outputs: int, start: Callable[..., jax.Array]) -> jax.Array:
    """x W + b of a child, in x's dtype; b starts at 0."""

    def apply(child: Place) -> jax.Array:
        weight = child.param("weight", start, (x.shape[-1], outputs), jnp.float32)
        bias = child.param("bias", nn.initializers.zeros, (outputs,), jnp.float32)
        return project(x, weight.astype(x.dtype)) + bias.astype(x.dtype)

    return Place(f"{place.at}/{name}", name=name)(apply)


def _uniform_within(bound: float) -> Callable[..., jax.Array]:
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
