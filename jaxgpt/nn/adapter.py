"""The adapter seam: what is trained beside a model's own weights, which stay as they are.

A member says with its hooks what it does at which places of a model; each does nothing unless a member says so. All its
parameters lie below a child named `adapter` of what they belong to, so `(^|/)adapter/` means them all.
B batch, T tokens, D model width, I inputs, O outputs, G key/value heads, K head width, L layers,
n virtual tokens.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from flax import linen as nn

from jaxgpt.nn.affine import Affine
from jaxgpt.nn.cache import KV
from jaxgpt.spec import ConfigError, Seam
from jaxgpt.text import Codec

T = TypeVar("T")


class Place(nn.Module):
    """An adapter's parameters at one place of a model: hooks declare theirs by `place.param(name, start, shape)`."""

    at: str
    """Its path: `blocks/layers/attention/q`, of all layers at once."""

    def beside(self, name: str) -> Mapping[str, Any]:
        """The adapter's parameters on another child of what this place is a child of, one that was called before."""
        around = self.parent.parent.variables["params"]
        own: Mapping[str, Any] = around[name]["adapter"]
        return own

    @nn.compact
    def __call__(self, hook: Callable[..., T], *args: Any) -> T:
        """`hook(place, *args)`."""
        return hook(self, *args)


class Adapter(Seam, seam="adapter"):
    """Base of all ways to train a model by few parameters of their own."""

    @property
    def virtual_tokens(self) -> int:
        """Tokens in front of every row that are none of its text: positions of real ones start at as many."""
        return 0

    @property
    def embedded_tokens(self) -> int:
        """How many of those go through the model in front of a row, as ids behind the vocabulary's: all or none."""
        return 0

    def project(self, place: Place, x: jax.Array, affine: Affine) -> jax.Array:
        """What a projection gives for `x` (..., I): (..., O), by default `affine(x)`. `place.at` says which it is."""
        return affine(x)

    def look_up(self, place: Place, ids_BT: jax.Array, x_BTD: jax.Array, vocabulary: int) -> jax.Array:
        """What tokens become on the way in, from their rows of the token table (vocabulary, D), float32. `place.at` is
        `embed`, and the table's path `embed/token`."""
        return x_BTD

    def sublayer(self, place: Place, y_BTD: jax.Array) -> jax.Array:
        """What a part of a block gives to its norm place and the residual sum, from the part's own output. `place.at`
        ends in the part's name, `attention` or `feed_forward`."""
        return y_BTD

    def embed(self, place: Place, width: int) -> jax.Array | None:
        """Vectors (n, width) of virtual tokens, rows behind the token table; None: there are none."""
        return None

    def keys_and_values(self, place: Place, layers: int, heads: int, width: int) -> KV | None:
        """Keys, as they are after norm and rotation, and values, (L, G, n, K): what every token of every row sees in
        each layer beside its own. None: there are none."""
        return None

    def finished(self, params: Any) -> tuple["Adapter", Any]:
        """The adapter, and parameters of a whole model that has it, without what serves training alone."""
        return self, params

    def begin(self, params: Mapping[str, jax.Array], codec: Codec | None, key: jax.Array) -> Mapping[str, jax.Array]:
        """By path, those of its parameters that start from the weights they are put on, given all parameters of the
        model by path, those weights among them."""
        return {}

    def merged(self, at: str, params: Mapping[str, np.ndarray], back: bool = False) -> Mapping[str, np.ndarray]:
        """By path, what stands in place of the base's weights at `at`, where the adapter has parameters, so that the
        model without it computes the same; `back`: the base's weights again, from those.

        All parameters are given by path, float64. Whatever else the way back needs is returned too, with a path below
        the adapter's own. Raises ConfigError where the adapter is no change of weights.
        """
        raise ConfigError(f"model.adapter: {self.kind} is no change of weights, so it cannot be merged into them")

    def problems(self, shapes: Mapping[str, Any]) -> list[str]:
        """What of it fits no part of a model, a line each, given the shapes of all the model's parameters by path."""
        return []
