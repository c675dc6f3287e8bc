"""Embedding lookup with a gradient that suits the vocabulary's size. V vocabulary, D width."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgpt.ops.sharding import constrain, platform, token_shards

SMALL = 4096
"""Up to this many rows the table's gradient is a one-hot matmul, which no backend runs as a serial scatter."""


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def lookup(table_VD: jax.Array, ids: jax.Array, gradient: str = "table_gradient") -> jax.Array:
    """`table[ids]`: ids of any shape, int, in [0, V), -> ids.shape + (D,). Range is checked on the host, not here.

    `gradient` is what the table's gradient is called where it is summed over devices (`ops.sharding`): left alone, the
    compiler may gather all tokens instead.
    """
    return jnp.take(table_VD, ids, axis=0, mode="clip")


def _forward(table_VD: jax.Array, ids: jax.Array, gradient: str) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # The table itself is kept for its shape and dtype alone; XLA drops the unused values.
    return lookup(table_VD, ids, gradient), (table_VD, ids)


def _backward(gradient: str, saved: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array, np.ndarray]:
    table_VD, ids = saved
    V, D = table_VD.shape
    if token_shards() == 1:
        ids, grad = ids.reshape(-1), grad.reshape(-1, D)
    if V <= SMALL:
        hot = jax.nn.one_hot(ids, V, dtype=grad.dtype)
        rows = tuple(range(ids.ndim))
        out = lax.dot_general(hot, grad, ((rows, rows), ((), ())), preferred_element_type=jnp.float32)
    else:
        out = jnp.zeros((V, D), jnp.float32).at[ids].add(grad.astype(jnp.float32))
    return constrain(out, gradient).astype(table_VD.dtype), np.zeros(saved[1].shape, jax.dtypes.float0)


lookup.defvjp(_forward, _backward)


def padded_size(size: int) -> int:
    """As many scores of a token as a product computes best, `size` or more: a GPU takes whole tiles of 128."""
    return -(-size // 128) * 128 if platform() == "gpu" else size


def unproject(h: jax.Array, table_VD: jax.Array, columns: int | None = None) -> jax.Array:
    """(..., D) -> (..., V): scores against every row of the table (tied output, Press & Wolf 2017), or (..., columns),
    of which those beyond V are 0."""
    if columns is not None:
        table_VD = jnp.pad(table_VD, ((0, columns - table_VD.shape[0]), (0, 0)))
    if token_shards() > 1:
        return h @ table_VD.T
    return (h.reshape(-1, h.shape[-1]) @ table_VD.T).reshape(*h.shape[:-1], table_VD.shape[0])
