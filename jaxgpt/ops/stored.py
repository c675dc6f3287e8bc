"""Weights in another form than an array of floats: what stands for one in a tree of parameters, and takes less room."""

from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


class Stored(ABC):
    """A matrix (..., I, O) that is not trained; a pytree whose leaves all have its leading axes.

    So a loop over layers, a vmap or a mesh slices it as it slices the array for which it stands.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(..., I, O)."""

    @abstractmethod
    def astype(self, dtype: DTypeLike) -> jax.Array:
        """The array that it stands for, rounded to `dtype`."""


def is_stored(leaf: Any) -> bool:
    """Whether a node of a tree is a stored weight: the `is_leaf` of trees that hold some."""
    return isinstance(leaf, Stored)


def cast(tree: Any, dtype: DTypeLike) -> Any:
    """A tree with its arrays in `dtype`, and stored weights as they are."""
    return jax.tree.map(lambda leaf: leaf if is_stored(leaf) else leaf.astype(dtype), tree, is_leaf=is_stored)


def as_arrays(tree: Any) -> Any:
    """A tree with float32 arrays for what is stored otherwise."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if is_stored(leaf) else leaf, tree, is_leaf=is_stored)
