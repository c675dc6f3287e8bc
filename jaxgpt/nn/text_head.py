"""The text head seam: what a model says of a text as a whole. B batch, T tokens, L layers, D model width."""

from abc import abstractmethod
from typing import ClassVar

from flax import linen as nn

from jaxgpt.nn.linear import Linears
from jaxgpt.spec import Seam


class TextHead(Seam, seam="text_head"):
    """What a model says of a text as a whole: a vector, say."""

    embeds: ClassVar[bool] = False
    """Whether it is a vector to be compared with other texts' by its cosine."""

    @property
    @abstractmethod
    def layered(self) -> bool:
        """Whether it reads the outputs of all layers; else it gets the last one's alone."""

    @abstractmethod
    def problems(self) -> list[str]:
        """What does not fit together, a line each."""

    @abstractmethod
    def size(self, d_model: int) -> int:
        """Numbers that it makes of a text."""

    @abstractmethod
    def module(self, linears: Linears) -> nn.Module:
        """`(states (L, B, T, D), real (B, T) bool, train) -> float32 (B, size)`."""
