"""The residual seam: what of the residual stream a block's sublayers read. B batch, T tokens, D model width."""

from abc import abstractmethod
from typing import ClassVar

import jax

from jaxgpt.nn.sublayer import Sublayer
from jaxgpt.spec import Seam


class Residual(Seam, seam="residual"):
    """Base of all ways to lead a residual stream through a block."""

    parallel: ClassVar[bool] = False
    """Whether sublayers do not see what the others add; then they need a norm place that is `parallel` too."""

    @abstractmethod
    def read(
        self, sublayer: Sublayer, x_BTD: jax.Array, start_BTD: jax.Array, before_BTD: jax.Array | None
    ) -> jax.Array:
        """What a sublayer is given. It may read the stream as it is by now, `x_BTD`, or as it was in front of the
        block, or take what the sublayer before was given (None: there is none before)."""


class Sequential(Residual):
    """Each sublayer reads what those before it have added to."""

    citation = "Vaswani et al. 2017, section 3.1"

    def read(
        self, sublayer: Sublayer, x_BTD: jax.Array, start_BTD: jax.Array, before_BTD: jax.Array | None
    ) -> jax.Array:
        """The stream by now: y = x + f(norm_f(x)), then y + g(norm_g(y))."""
        return sublayer.read(x_BTD)


class Parallel(Residual):
    """All sublayers read the block's input, each through a norm of its own."""

    citation = "Black et al. 2022 (GPT-NeoX-20B), section 2.1; Chowdhery et al. 2022 (PaLM), section 2"
    parallel = True

    def read(
        self, sublayer: Sublayer, x_BTD: jax.Array, start_BTD: jax.Array, before_BTD: jax.Array | None
    ) -> jax.Array:
        """The block's input: x + f(norm_f(x)) + g(norm_g(x))."""
        return sublayer.read(start_BTD)


class ParallelOneNorm(Residual):
    """All sublayers read the block's input through one norm, that of attention."""

    citation = "Wang & Komatsuzaki 2021 (GPT-J); kingoflolz/mesh-transformer-jax"
    parallel = True

    def read(
        self, sublayer: Sublayer, x_BTD: jax.Array, start_BTD: jax.Array, before_BTD: jax.Array | None
    ) -> jax.Array:
        """The block's input as the first sublayer reads it: x + f(norm_f(x)) + g(norm_f(x))."""
        return sublayer.read(start_BTD) if before_BTD is None else before_BTD
