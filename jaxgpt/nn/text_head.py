"""The text head seam: what a model says of a text as a whole. B batch, T tokens, L layers, D model width."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Self

import jax
from flax import linen as nn

from jaxgpt.nn.linear import Linears
from jaxgpt.spec import Seam
from jaxgpt.text import Target

Summary = Callable[[jax.Array, jax.Array], jax.Array]
"""`(hidden (B, T, D), real (B, T) bool) -> (B, D)`: how a model itself sums up a row, by its pooler, say."""


class TextHead(Seam, seam="text_head"):
    """What a model says of a text as a whole: a vector, say."""

    embeds: ClassVar[bool] = False
    """Whether it is a vector to be compared with other texts' by its cosine."""
    judges: ClassVar[bool] = False
    """Whether it is an answer about the text: a score for each label, or a number."""

    @property
    @abstractmethod
    def layered(self) -> bool:
        """Whether it reads the outputs of all layers; else it gets the last one's alone."""

    def complete(self, target: Target | None) -> bool:
        """Whether `settle` has nothing to add for rows with such labels."""
        return True

    @abstractmethod
    def problems(self) -> list[str]:
        """What does not fit together, a line each."""

    @abstractmethod
    def size(self, d_model: int) -> int:
        """Numbers that it makes of a text."""

    @abstractmethod
    def module(self, linears: Linears) -> nn.Module:
        """`pool(states (L, B, T, D), real (B, T) bool, summary: Summary) -> float32 (B, D)`, and the module itself:
        `(pooled (..., D), train) -> float32 (..., size)`."""

    def settle(self, labels: tuple[str, ...] | None, scale: tuple[float, float] | None) -> Self:
        """With what the training data decide: the names of the labels, or mean and standard deviation of the scores.
        Raises ConfigError where it names others."""
        return self
