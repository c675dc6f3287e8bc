"""What a pattern is: a closed form of two positions.

So it holds for any length, for packed rows and padding (the kernel's arguments), and for decoding with a cache. A new
pattern needs `allows` alone; counting, block layout, picture and cache length follow from it (layout.py). The two
abstract subclasses say more, which makes it cheaper.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from jaxgpt.spec import Seam
from jaxgpt.spec.sizes import Length

EXTENT = "extent"
Extent = Annotated[Length, EXTENT]
"""A field measured in positions: a model refuses one that exceeds its context."""


class Pattern(Seam, seam="pattern"):
    """Base of all attention patterns."""

    sees_past: ClassVar[bool] = False
    """Whether every query sees all keys before it: known without asking `allows`."""

    @abstractmethod
    def allows(self, q: Any, k: Any) -> Any:
        """Whether the query at position q sees the key at position k: bool, broadcast over int arrays."""

    @property
    def shares(self) -> tuple["Pattern", ...]:
        """The pattern of each equal share of the heads, in order: one share unless heads differ."""
        return (self,)


class Relative(Pattern):
    """A pattern of distance alone: it means the same wherever a row or a document starts."""

    @abstractmethod
    def near(self, distance: Any) -> Any:
        """Whether a key `distance` = q − k positions back is seen (negative: ahead): bool, for an int array."""

    def allows(self, q: Any, k: Any) -> Any:
        """Whether `near` holds of the distance q − k."""
        return self.near(q - k)


class Arrangement(NamedTuple):
    """A part of a pattern, and an order of the tokens in which its blocks are dense."""

    allows: Callable[[Any, Any], Any]
    """Which pairs, by position: the parts of one pattern are disjoint and together are the pattern."""
    queries: np.ndarray
    """int32: the row's indices in the order in which queries are taken, every index once."""
    keys: np.ndarray
    """int32: the same for keys; indices that no query of this part sees may be left out."""
    by_distance: bool = False
    """Whether both are in the row's own order and `allows` depends on distance alone: then blocks are cheap to find."""


class Arranged(Pattern):
    """A pattern that is sparse by tokens but not by blocks, until the tokens are put in another order."""

    @abstractmethod
    def arrange(self, length: int) -> tuple[Arrangement, ...]:
        """The parts of a row of `length` tokens whose positions are 0 … length − 1."""


def beyond(value: Seam, context: int, path: str) -> list[str]:
    """One line for each field measured in positions that exceeds a context, in a pattern and in those it is made of."""
    problems = []
    for name, field in type(value).model_fields.items():
        content = getattr(value, name)
        if EXTENT in field.metadata and content > context:
            problems.append(f"{path}.{name} {content} exceeds context {context}; use at most {context}")
        for i, part in enumerate(content if isinstance(content, tuple) else ()):
            problems += beyond(part, context, f"{path}.{name}.{i}") if isinstance(part, Pattern) else []
    return problems


def same_order(length: int) -> np.ndarray:
    """The indices 0 to length − 1 in order, int32."""
    return np.arange(length, dtype=np.int32)
