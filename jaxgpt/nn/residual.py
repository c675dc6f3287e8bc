"""The residual seam: what of the residual stream the sublayers of a block read. B batch, T tokens, D model width."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import jax

from jaxgpt.nn.sublayer import Sublayer
from jaxgpt.spec import Seam


class Residual(Seam, seam="residual"):
    """Base of all ways to lead a residual stream through a block."""

    parallel: ClassVar[bool] = False
    """Whether sublayers do not see what the others add; then they need a norm place that is `parallel` too."""

    @abstractmethod
    def through(self, x_BTD: jax.Array, sublayers: Sequence[Sublayer]) -> jax.Array:
        """The stream behind a block's sublayers: attention, cross-attention where it has one, feed-forward."""


class Sequential(Residual):
    """Each sublayer reads what those before it have added to."""

    citation = "Vaswani et al. 2017, section 3.1"

    def through(self, x_BTD: jax.Array, sublayers: Sequence[Sublayer]) -> jax.Array:
        """x + f(norm(x)), then the next."""
        for sublayer in sublayers:
            x_BTD = sublayer.add(x_BTD, sublayer.part(sublayer.read(x_BTD)))
        return x_BTD


class Parallel(Residual):
    """All read the block's input, each through a norm of its own."""

    citation = "Black et al. 2022 (GPT-NeoX-20B), section 2.1; Chowdhery et al. 2022 (PaLM), section 2"
    parallel = True

    def through(self, x_BTD: jax.Array, sublayers: Sequence[Sublayer]) -> jax.Array:
        """x + f(norm_f(x)) + g(norm_g(x))."""
        start_BTD = x_BTD
        for sublayer in sublayers:
            x_BTD = sublayer.add(x_BTD, sublayer.part(sublayer.read(start_BTD)))
        return x_BTD


class ParallelOneNorm(Residual):
    """All read the block's input through one norm, that of attention."""

    citation = "Wang & Komatsuzaki 2021 (GPT-J); kingoflolz/mesh-transformer-jax"
    parallel = True

    def through(self, x_BTD: jax.Array, sublayers: Sequence[Sublayer]) -> jax.Array:
        """x + f(norm(x)) + g(norm(x))."""
        h_BTD = sublayers[0].read(x_BTD)
        for sublayer in sublayers:
            x_BTD = sublayer.add(x_BTD, sublayer.part(h_BTD))
        return x_BTD
