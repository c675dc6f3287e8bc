"""What is around a part of a block: norms, dropout, the residual sum. B batch, T tokens, D model width."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxgpt.nn.norm import Norm
from jaxgpt.nn.norm_place import NormPlace
from jaxgpt.ops.sharding import constrain


class Sublayer(NamedTuple):
    """What is around a part of a block of that name. Parameters `norm_NAME`, with norms on both sides
    `norm_NAME_after`, children of the module that calls."""

    name: str
    norm: Norm
    norm_place: NormPlace
    drop: Callable[[jax.Array], jax.Array]

    def read(self, x_BTD: jax.Array) -> jax.Array:
        """What the part is given of the residual stream."""
        return constrain(self.norm_place.read(x_BTD, self._norms), "sublayer")

    def add(self, x_BTD: jax.Array, y_BTD: jax.Array) -> jax.Array:
        """The residual stream with what the part makes of it."""
        return self.norm_place.add(x_BTD, constrain(y_BTD, "residual"), self._norms, self.drop)

    def _norms(self, suffix: str, x_BTD: jax.Array) -> jax.Array:
        return self.norm.module(f"norm_{self.name}{suffix}")(x_BTD)
