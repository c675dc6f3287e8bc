"""Matrix product with the weight gradient in the orientation that every backend runs well."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgpt.ops.sharding import platform, token_shards
from jaxgpt.ops.stored import Stored


def project(x: jax.Array, w_IO: jax.Array | Stored) -> jax.Array:
    """(..., I) @ (I, O) -> (..., O). A stored weight becomes an array within the product, and gets no gradient.

    Leading axes are flattened, because XLA:CPU runs two-dimensional operands twice as fast; but not where tokens are
    split over devices, which would have to be gathered first.
    """
    if token_shards() > 1:
        return stored_matmul(x, w_IO) if isinstance(w_IO, Stored) else x @ w_IO
    x_NI = x.reshape(-1, x.shape[-1])
    y_NO = stored_matmul(x_NI, w_IO) if isinstance(w_IO, Stored) else matmul(x_NI, w_IO)
    return y_NO.reshape(*x.shape[:-1], w_IO.shape[-1])


@jax.custom_vjp
def matmul(x_NI: jax.Array, w_IO: jax.Array) -> jax.Array:
    """(N, I) @ (I, O) -> (N, O)."""
    return x_NI @ w_IO


def _forward(x_NI: jax.Array, w_IO: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x_NI @ w_IO, (x_NI, w_IO)


def _backward(saved: tuple[jax.Array, jax.Array], dy_NO: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_NI, w_IO = saved
    if x_NI.shape[1] <= dy_NO.shape[1]:
        dw_IO = _over_rows(x_NI, dy_NO)
    else:  # the wider side last is faster on XLA:CPU. The barrier keeps XLA from undoing the transpose.
        dw_IO = lax.optimization_barrier(_over_rows(dy_NO, x_NI)).T
    return lax.dot_general(dy_NO, w_IO, (((1,), (1,)), ((), ()))), dw_IO


def _over_rows(a_NX: jax.Array, b_NY: jax.Array) -> jax.Array:
    return lax.dot_general(a_NX, b_NY, (((0,), (0,)), ((), ())))


matmul.defvjp(_forward, _backward)


@jax.custom_vjp
def stored_matmul(x: jax.Array, w_IO: Stored) -> jax.Array:
    """(..., I) @ (I, O) -> (..., O). Its backward pass reads the weight as it is stored once more."""
    return x @ _array_beside(w_IO, x)


def _array_beside(w_IO: Stored, x: jax.Array) -> jax.Array:
    """The weight as an array in the dtype of `x`, for which it waits: else XLA would make the arrays of all layers in
    front of a loop, or keep those of the forward pass for the backward pass."""
    if platform() == "cpu":
        w_IO = _after(w_IO, x[(0,) * x.ndim])
    else:
        _, w_IO = lax.optimization_barrier((x, w_IO))
    return w_IO.astype(x.dtype)


@jax.custom_batching.custom_vmap
def _after(tree: Any, number: jax.Array) -> Any:
    """The same tree, once there is the number. XLA:CPU forgets barriers before it orders operations."""
    never = (number != number) & (number == number)
    return jax.tree.map(lambda leaf: jnp.where(never, jnp.zeros((), leaf.dtype), leaf), tree)


@_after.def_vmap
def _after_lanes(size: int, batched: Any, tree: Any, number: jax.Array) -> tuple[Any, Any]:
    """What all lanes share stays shared."""
    return _after(tree, number[0] if batched[1] else number), batched[0]


def _stored_forward(x: jax.Array, w_IO: Stored) -> tuple[jax.Array, Stored]:
    return stored_matmul(x, w_IO), w_IO


def _stored_backward(w_IO: Stored, dy: jax.Array) -> tuple[jax.Array, None]:
    return dy @ _array_beside(w_IO, dy).T, None


stored_matmul.defvjp(_stored_forward, _stored_backward)
