"""Normalisation over the last axis, in float32, back in the input's dtype. The gradients are written out: fewer passes.

The backward pass gets the row's statistics behind a barrier, because XLA would compute them again in each of the
kernels that it cuts that pass into, and sum a gain's gradient in two kernels instead of one.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgpt.ops.precision import wide
from jaxgpt.ops.sharding import platform


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array | None, eps: float) -> jax.Array:
    """Zero mean, unit variance, then scale and bias (Ba et al. 2016)."""
    return _layer_norm_forward(x, scale, bias, eps)[0]


def _layer_norm_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array | None, eps: float
) -> tuple[jax.Array, tuple[Any, ...]]:
    y = wide(x)
    mean, variance = _moments(y)
    rate = lax.rsqrt(variance + eps)
    out = (y - mean) * rate * scale
    return (out if bias is None else out + bias).astype(x.dtype), (x, mean, rate, scale, bias)


def _layer_norm_backward(eps: float, saved: tuple[Any, ...], dy: jax.Array) -> tuple[jax.Array | None, ...]:
    x, mean, rate, scale, bias = saved
    dy, mean, rate = _computed(dy, mean, rate)
    dy, rows = wide(dy), tuple(range(dy.ndim - 1))
    unit = (wide(x) - mean) * rate
    d_unit, d_gain = dy * scale, dy * unit
    along = jnp.mean(d_gain * scale, -1, keepdims=True)
    dx = rate * (d_unit - jnp.mean(d_unit, -1, keepdims=True) - unit * along)
    return dx.astype(x.dtype), jnp.sum(d_gain, rows), None if bias is None else jnp.sum(dy, rows)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """Unit root mean square, then scale (Zhang & Sennrich 2019). A CPU is faster by autodiff."""
    return _rms_norm(x, scale, eps) if platform() == "gpu" else _rms_norm_forward(x, scale, eps)[0]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    return _rms_norm_forward(x, scale, eps)[0]


def _rms_norm_forward(x: jax.Array, scale: jax.Array, eps: float) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    y = wide(x)
    rate = lax.rsqrt(jnp.mean(jnp.square(y), -1, keepdims=True) + eps)
    return (y * rate * scale).astype(x.dtype), (x, rate, scale)


def _rms_norm_backward(eps: float, saved: tuple[jax.Array, ...], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, rate, scale = saved
    dy, rate = _computed(dy, rate)
    dy, unit = wide(dy), wide(x) * rate
    d_gain = dy * unit
    dx = rate * (dy * scale - unit * jnp.mean(d_gain * scale, -1, keepdims=True))
    return dx.astype(x.dtype), jnp.sum(d_gain, tuple(range(dy.ndim - 1)))


_rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)


def _moments(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over the last axis, (..., 1): by one reduction on a GPU, which would read `y` twice for two."""
    if platform() != "gpu":
        mean = jnp.mean(y, -1, keepdims=True)
        return mean, jnp.mean(jnp.square(y - mean), -1, keepdims=True)
    zero = np.zeros((), y.dtype)
    parts = jnp.ones_like(y), y, jnp.zeros_like(y)
    count, mean, squares = lax.reduce(parts, (zero, zero, zero), _joined_moments, (y.ndim - 1,))
    return mean[..., None], (squares / count)[..., None]


def _joined_moments(a: Any, b: Any) -> Any:
    """(count, mean, Σ (y − mean)²) of two parts together (Chan et al. 1979): exact where the mean is large, too."""
    count, apart = a[0] + b[0], b[1] - a[1]
    share = b[0] / jnp.maximum(count, 1)
    return count, a[1] + apart * share, a[2] + b[2] + jnp.square(apart) * a[0] * share


def _computed(*values: jax.Array) -> tuple[jax.Array, ...]:
    """The values, computed once, before anything that reads them. A CPU gains nothing by it."""
    return lax.optimization_barrier(values) if platform() == "gpu" else values
