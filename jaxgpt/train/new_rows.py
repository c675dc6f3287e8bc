"""Rows that a vocabulary's tables have beyond those of the weights a run starts from: its tokenizer's marks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.text import Codec, Tokenizer

STD = 0.02
"""Standard deviation of new rows in a table that is not trained; those of one that is are drawn as its others are."""


class NewRows(NamedTuple):
    """The ids from `first` to the one before `stop`, which the weights do not know."""

    first: int
    stop: int

    def lie_between(self, theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
        """Whether a table of the shape `ours` has a row for each id, and the weights' has rows for all that are not
        new."""
        differs = _axes(theirs, ours)
        return len(theirs) == len(ours) and len(differs) == 1 and self.first <= theirs[differs[0]] < ours[differs[0]]

    def fill(self, theirs: jax.Array, fresh: jax.Array) -> jax.Array:
        """`fresh`, with the rows of `theirs` for all ids that it has and that are not new."""
        (axis,) = _axes(theirs.shape, fresh.shape)
        size, rows = fresh.shape[axis], theirs.shape[axis]
        ids_V = np.arange(size)
        known_V = (ids_V < rows) & ((ids_V < self.first) | (ids_V >= self.stop))
        pad = [(0, size - rows if i == axis else 0) for i in range(theirs.ndim)]
        return jnp.where(
            np.expand_dims(known_V, [i for i in range(theirs.ndim) if i != axis]), jnp.pad(theirs, pad), fresh
        )


def new_rows(tokenizer: Tokenizer, codec: Codec) -> NewRows | None:
    """Those of a tokenizer's marks; None where it has none."""
    return NewRows(codec.vocab_size - tokenizer.marks, codec.vocab_size) if tokenizer.marks else None


def frozen_rows(shape: tuple[int, ...]) -> jax.Array:
    """New rows of a table that is not trained, float32: the same in every run, so that runs of any seed share it."""
    return jnp.zeros(shape) if len(shape) == 1 else STD * jax.random.normal(jax.random.key(0), shape)


def _axes(theirs: tuple[int, ...], ours: tuple[int, ...]) -> list[int]:
    return [axis for axis, (old, new) in enumerate(zip(theirs, ours, strict=False)) if old != new]
