"""Embedding lookup with a gradient that suits the vocabulary's size. V vocabulary, D width."""

import jax
import jax.numpy as jnp
import numpy as np

SMALL = 4096
"""Up to this many rows the table's gradient is a one-hot matmul, which no backend runs as a serial scatter."""


@jax.custom_vjp
def lookup(table_VD: jax.Array, ids: jax.Array) -> jax.Array:
    """`table[ids]`: ids of any shape, int, in [0, V), -> ids.shape + (D,). Range is checked on the host, not here."""
    return jnp.take(table_VD, ids, axis=0, mode="clip")


def _forward(table_VD: jax.Array, ids: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # The table itself is kept for its shape and dtype alone; XLA drops the unused values.
    return lookup(table_VD, ids), (table_VD, ids)


def _backward(saved: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array, np.ndarray]:
    table_VD, ids = saved
    V, D = table_VD.shape
    grad_ND = grad.reshape(-1, D)
    if V <= SMALL:
        hot_NV = jax.nn.one_hot(ids.reshape(-1), V, dtype=grad.dtype)
        out = jnp.einsum("nv,nd->vd", hot_NV, grad_ND, preferred_element_type=jnp.float32)
    else:
        out = jnp.zeros((V, D), jnp.float32).at[ids.reshape(-1)].add(grad_ND.astype(jnp.float32))
    return out.astype(table_VD.dtype), np.zeros(ids.shape, jax.dtypes.float0)


lookup.defvjp(_forward, _backward)
