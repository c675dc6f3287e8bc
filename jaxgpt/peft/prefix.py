"""Prefix tuning: trained keys and values in front of every layer's own.

L layers, G key/value heads, K head width, n virtual tokens, P = L·2·G·K: the numbers of one virtual token.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from pydantic import PositiveFloat

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.nn.cache import KV
from jaxgpt.spec.sizes import Count, Width

ROOT = "blocks/adapter"


class Prefix(Adapter, kind="prefix"):
    """Puts keys and values of `tokens` virtual tokens in front of each layer's own: every token sees them, whatever the
    pattern. Keys are used as they are, without norm or rotation."""

    citation = "Li & Liang 2021 (prefix tuning), section 4"
    tokens: Count = 20
    mlp: Width | None = None
    """Inner width of the two layers with tanh between that make keys and values from one vector a virtual token, while
    training alone: `finished` drops them. None: keys and values are the parameters."""
    init_std: PositiveFloat = 1.0
    """Standard deviation of the normal start of keys and values, or of the vectors; Hugging Face PEFT's is 1."""

    @property
    def virtual_tokens(self) -> int:
        """All of its `tokens`; none of them goes through the model."""
        return self.tokens

    def keys_and_values(self, place: Place, layers: int, heads: int, width: int) -> KV:
        """Parameter `prefix` (n, P); with an MLP `vectors` (n, G·K), maps `hidden` (G·K, mlp) and `out` (mlp, P)."""
        start, width = nn.initializers.normal(self.init_std), heads * width
        if self.mlp is None:
            return KV(*by_layer(place.param("prefix", start, (self.tokens, layers * 2 * width)), layers, heads))
        vectors = place.param("vectors", start, (self.tokens, width))
        sizes = {"hidden": (width, self.mlp), "out": (self.mlp, layers * 2 * width)}
        return KV(
            *by_layer(mlp(vectors, *(_affine(place, name, *size) for name, size in sizes.items())), layers, heads)
        )

    def finished(self, params: Any) -> tuple["Prefix", Any]:
        """The same keys and values as parameters themselves; the MLP is dropped."""
        if self.mlp is None:
            return self, params
        paths = flatten_dict(params, sep="/")
        own = {path: leaf for path, leaf in paths.items() if path.startswith(f"{ROOT}/")}
        hidden, out = ([own[f"{ROOT}/{name}/{leaf}"] for leaf in ("weight", "bias")] for name in ("hidden", "out"))
        rest = {path: leaf for path, leaf in paths.items() if path not in own}
        whole = rest | {f"{ROOT}/prefix": mlp(own[f"{ROOT}/vectors"], hidden, out)}
        return self.evolve(mlp=None), unflatten_dict(whole, sep="/")


def by_layer(prefix_nP: jax.Array, layers: int, heads: int) -> jax.Array:
    """(n, P) -> (2, L, G, n, K): keys and values. P is in the order layer, key or value, head, channel, as in the file
    that Hugging Face PEFT writes."""
    return rearrange(prefix_nP, "n (l two g k) -> two l g n k", l=layers, two=2, g=heads)


def mlp(vectors: jax.Array, hidden: Sequence[jax.Array], out: Sequence[jax.Array]) -> jax.Array:
    """(n, G·K) -> (n, P) by two affine maps, each weight and bias, with tanh between."""
    return jnp.tanh(vectors @ hidden[0] + hidden[1]) @ out[0] + out[1]


def _affine(place: Place, name: str, inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
    """Weight and bias of a child, uniform within ±1/√inputs, as torch's linear layers start."""

    def declare(child: Place) -> tuple[jax.Array, jax.Array]:
        start = _uniform_within(inputs**-0.5)
        return child.param("weight", start, (inputs, outputs)), child.param("bias", start, (outputs,))

    return Place(f"{place.at}/{name}", name=name)(declare)


def _uniform_within(bound: float) -> Callable[..., jax.Array]:
    return lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -bound, bound)
