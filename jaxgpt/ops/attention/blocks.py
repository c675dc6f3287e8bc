"""Rows cut into blocks of tokens, and put together again. n blocks of b tokens, X heads or groups."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgpt.ops.attention.scores import Side


def blocks(x: jax.Array, block: int, fill: Any = 0, spare: int = 0) -> jax.Array:
    """(B, X, T, ...) -> (n + spare, B, X, b, ...); `fill` in the last block's end and in the spare blocks."""
    missing = -x.shape[2] % block + spare * block
    x = jnp.pad(x, [(0, missing if axis == 2 else 0) for axis in range(x.ndim)], constant_values=fill)
    return jnp.moveaxis(x.reshape(*x.shape[:2], -1, block, *x.shape[3:]), 2, 0)


def side_blocks(side: Side, block: int, spare: int = 0) -> Side:
    """Positions and segments, (n, b) or (n, B, b); places that are not there have position -1."""

    def cut(x: jax.Array, fill: int) -> jax.Array:
        return blocks(x.reshape(-1, 1, x.shape[-1]), block, fill, spare)[:, :, 0]

    pos = cut(side.pos, -1)
    return Side(pos[:, 0] if side.pos.ndim == 1 else pos, None if side.segment is None else cut(side.segment, 0))


def join(x: jax.Array) -> jax.Array:
    """(n, B, X, b, ...) -> (B, X, n·b, ...)."""
    x = jnp.moveaxis(x, 0, 2)
    return x.reshape(*x.shape[:2], -1, *x.shape[4:])


def block_at(tree: Any, index: Any) -> Any:
    """Leaves (n, ...) -> (...): the block of that number, which may be traced."""
    return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, index, keepdims=False), tree)
