"""The zigzag order of a row's pieces over devices, and the moves into it and out of it.

A row in 2n pieces; device i of n has the neighbours 2i and 2i + 1. Under a causal pattern the last device then has
nearly all the work. In zigzag order device i has i and 2n − 1 − i: what one lacks the other has (Megatron-LM's context
parallelism; Llama Team 2024, section 3.3.2). The pieces 2i all go to different devices, and so do the pieces 2i + 1:
a move is two permutations.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Axes = tuple[str, ...]


def order(parts: int) -> np.ndarray:
    """int32 (n, 2): the pieces that each of `parts` devices holds, the earlier first."""
    low = np.arange(parts, dtype=np.int32)
    return np.stack([low, 2 * parts - 1 - low], axis=1)


def to_zigzag(tree: Any, axes: Axes, parts: int) -> Any:
    """Leaves (2, ...): the neighbours 2i and 2i + 1 -> pieces i and 2n − 1 − i. Inside a shard_map over `axes`."""
    even = lax.axis_index(axes) % 2 == 0

    def move(x: jax.Array) -> jax.Array:
        first, second = (lax.ppermute(x[side], axes, _goes(side, parts)) for side in (0, 1))
        return jnp.stack([jnp.where(even, first, second), jnp.where(even, second, first)])

    return jax.tree.map(move, tree)


def from_zigzag(tree: Any, axes: Axes, parts: int) -> Any:
    """Puts the pieces back in the order of the row: the inverse of `to_zigzag`."""
    even = lax.axis_index(axes) % 2 == 0

    def move(x: jax.Array) -> jax.Array:
        first, second = jnp.where(even, x[0], x[1]), jnp.where(even, x[1], x[0])
        back = [[(to, here) for here, to in _goes(side, parts)] for side in (0, 1)]
        return jnp.stack([lax.ppermute(x, axes, way) for x, way in zip((first, second), back, strict=True)])

    return jax.tree.map(move, tree)


def _goes(side: int, parts: int) -> list[tuple[int, int]]:
    """The moves, from which device to which, of the pieces 2i + side go."""
    pieces = 2 * np.arange(parts) + side
    return list(enumerate(np.minimum(pieces, 2 * parts - 1 - pieces).tolist()))
