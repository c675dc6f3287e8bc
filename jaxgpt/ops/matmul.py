"""Matrix product with the weight gradient in the orientation that every backend runs well."""

import jax
from jax import lax

from jaxgpt.ops.sharding import token_shards


def project(x: jax.Array, w_IO: jax.Array) -> jax.Array:
    """(..., I) @ (I, O) -> (..., O).

    Leading axes are flattened, because XLA:CPU runs two-dimensional operands twice as fast; but not where tokens are
    split over devices, which would have to be gathered first.
    """
    if token_shards() > 1:
        return x @ w_IO
    return matmul(x.reshape(-1, x.shape[-1]), w_IO).reshape(*x.shape[:-1], w_IO.shape[-1])


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
