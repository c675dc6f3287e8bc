"""What is around a part of a block: norms, dropout, the residual sum. B batch, T tokens, D model width."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax

from jaxgpt.nn.norm import Norm
from jaxgpt.ops.sharding import constrain

NormPlace = Literal["pre", "post", "both"]
"""Before each sublayer (GPT-2), after the residual sum (GPT-1, the original Transformer), or before each sublayer and
again before what it gives is added (Gemma 2)."""


class Sublayer(NamedTuple):
    """Around the part of a block that is named so. Parameters `norm_NAME`, with norms on both sides `norm_NAME_after`,
    children of the module that calls."""

    name: str
    norm: Norm
    norm_place: NormPlace
    drop: Callable[[jax.Array], jax.Array]

    def read(self, x_BTD: jax.Array) -> jax.Array:
        """What the part is given of the residual stream."""
        return constrain(x_BTD if self.norm_place == "post" else self._norm("", x_BTD), "sublayer")

    def add(self, x_BTD: jax.Array, y_BTD: jax.Array) -> jax.Array:
        """The residual stream with what the part makes of it."""
        y_BTD = constrain(y_BTD, "residual")
        if self.norm_place == "both":
            y_BTD = constrain(self._norm("_after", y_BTD), "residual")
        x_BTD = x_BTD + self.drop(y_BTD)
        return self._norm("", x_BTD) if self.norm_place == "post" else x_BTD

    def _norm(self, where: str, x_BTD: jax.Array) -> jax.Array:
        return self.norm.module(f"norm_{self.name}{where}")(x_BTD)
