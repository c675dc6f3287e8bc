"""What dropout and masking draw: for a whole batch at once, or for each row from a key of its own.

Within `by_row` a row's mask depends on the row's number alone, so a batch that is computed in parts, or computed twice,
drops what it would drop whole. B rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp

_ROWS: ContextVar[jax.Array | None] = ContextVar("rows", default=None)


@contextmanager
def by_row(rows_B: jax.Array) -> Iterator[None]:
    """Functions traced inside, on batches of these rows, draw dropout row by row. int32 (B,): the rows' numbers."""
    token = _ROWS.set(rows_B)
    try:
        yield
    finally:
        _ROWS.reset(token)


def rows_of(B: int) -> jax.Array:
    """int32 (B,): the numbers that `by_row` gave, or a batch's own, from 0."""
    rows_B = _ROWS.get()
    return jnp.arange(B) if rows_B is None else rows_B


def row_keys(key: jax.Array) -> jax.Array:
    """`key` itself, or within `by_row` (B,) keys, one a row."""
    rows_B = _ROWS.get()
    return key if rows_B is None else jax.vmap(jax.random.fold_in, (None, 0))(key, rows_B)


def fold_in(key: jax.Array, data: int | jax.Array) -> jax.Array:
    """`jax.random.fold_in` for one key or for (B,)."""
    return jax.vmap(jax.random.fold_in, (0, None))(key, data) if key.ndim else jax.random.fold_in(key, data)


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """float32 in [0, 1); of (B,) keys each draws a row of it."""
    return jax.vmap(lambda row: jax.random.uniform(row, shape[1:]))(key) if key.ndim else jax.random.uniform(key, shape)


def bernoulli(key: jax.Array, probability: float | jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """bool of that shape; of (B,) keys each draws a row of it."""
    if not key.ndim:
        return jax.random.bernoulli(key, probability, shape)
    return jax.vmap(lambda row: jax.random.bernoulli(row, probability, shape[1:]))(key)
