"""The norm place seam: where the norms of a sublayer stand. B batch, T tokens, D model width."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import jax

from jaxgpt.ops.sharding import constrain
from jaxgpt.spec import Seam

Norms = Callable[[str, jax.Array], jax.Array]
"""`norms(suffix, x)` applies the sublayer's norm of that suffix, "" for its first; each at most once a call."""
Drop = Callable[[jax.Array], jax.Array]


class NormPlace(Seam, seam="norm_place"):
    """Base of all places of norms."""

    parallel: ClassVar[bool] = False
    """Whether it serves sublayers that do not see what the others add (see nn/residual.py)."""

    @property
    @abstractmethod
    def final_norm(self) -> bool:
        """Whether a stack of such sublayers ends with a norm of its own: its output has passed none."""

    @abstractmethod
    def read(self, x_BTD: jax.Array, norms: Norms) -> jax.Array:
        """What a part is given of the residual stream."""

    @abstractmethod
    def add(self, x_BTD: jax.Array, y_BTD: jax.Array, norms: Norms, drop: Drop) -> jax.Array:
        """The residual stream with what the part gives, dropped out by `drop`."""


class PreNorm(NormPlace, kind="pre"):
    """Normalises what each sublayer reads; the residual stream itself is never normalised."""

    citation = "Radford et al. 2019 (GPT-2), section 2.3; Xiong et al. 2020"
    parallel = True

    @property
    def final_norm(self) -> bool:
        """True: nothing has normalised the residual stream."""
        return True

    def read(self, x_BTD: jax.Array, norms: Norms) -> jax.Array:
        """The residual stream, normalised."""
        return norms("", x_BTD)

    def add(self, x_BTD: jax.Array, y_BTD: jax.Array, norms: Norms, drop: Drop) -> jax.Array:
        """The residual stream plus what the part gives."""
        return x_BTD + drop(y_BTD)


class PostNorm(NormPlace, kind="post"):
    """Normalises the residual stream after each sublayer is added to it."""

    citation = "Vaswani et al. 2017, section 3.1; Radford et al. 2018 (GPT-1), section 4.1"

    @property
    def final_norm(self) -> bool:
        """False: the last sublayer ends with a norm."""
        return False

    def read(self, x_BTD: jax.Array, norms: Norms) -> jax.Array:
        """The residual stream as it is."""
        return x_BTD

    def add(self, x_BTD: jax.Array, y_BTD: jax.Array, norms: Norms, drop: Drop) -> jax.Array:
        """The residual stream plus what the part gives, normalised."""
        return norms("", x_BTD + drop(y_BTD))


class BothNorms(NormPlace, kind="both"):
    """Normalises what each sublayer reads, and again what it gives before that is added."""

    citation = "Gemma Team 2024 (Gemma 2), section 2"

    @property
    def final_norm(self) -> bool:
        """True: nothing has normalised the residual stream."""
        return True

    def read(self, x_BTD: jax.Array, norms: Norms) -> jax.Array:
        """The residual stream, normalised."""
        return norms("", x_BTD)

    def add(self, x_BTD: jax.Array, y_BTD: jax.Array, norms: Norms, drop: Drop) -> jax.Array:
        """The residual stream plus what the part gives, itself normalised before."""
        return x_BTD + drop(constrain(norms("_after", y_BTD), "residual"))
