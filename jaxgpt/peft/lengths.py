"""Lengths of a matrix's columns, of which DoRA makes parameters. I inputs, O outputs, R rank."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgpt.ops.stored import Stored

SHORTEST = 1e-15
"""Length that a column has at least: one of zeros stays so."""


@jax.jit
def column_norms(weight: jax.Array | Stored) -> jax.Array:
    """(..., I, O) -> float32 (..., O): Euclidean lengths of what makes each output."""
    return jnp.sqrt(_squares(weight))


def summed_norms(weight_IO: jax.Array | Stored, a_IR: jax.Array, b_RO: jax.Array, scale: Any) -> jax.Array:
    """float32 (O,): `column_norms` of W + scale·A B, which is never made; with B = 0 the same bits as W's."""
    with jax.default_matmul_precision("highest"):
        across_RO = 2 * a_IR.T @ weight_IO.astype(jnp.float32) + scale * ((a_IR.T @ a_IR) @ b_RO)
    squares_O = _squares(weight_IO) + scale * jnp.sum(across_RO * b_RO, 0)
    return jnp.sqrt(jnp.maximum(squares_O, SHORTEST**2))


def _squares(weight: jax.Array | Stored) -> jax.Array:
    return jnp.sum(jnp.square(weight.astype(jnp.float32)), -2)
