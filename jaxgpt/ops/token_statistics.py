"""What a token's loss needs of its logits: log Z, the target's logit and their mean. N tokens, V vocabulary.

Logits may have columns beyond the vocabulary (`ops.lookup.padded_size`), which belong to no token.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgpt.ops.precision import wide
from jaxgpt.ops.sharding import platform


class Statistics(NamedTuple):
    """Of each token, at least float32."""

    log_z: jax.Array
    """log Σ exp(logit)."""
    target: jax.Array
    """The target's logit."""
    mean: jax.Array | None = None
    """The mean of the logits; None where it was not asked for."""


def statistics(logits: jax.Array, targets: jax.Array, size: int, mean: bool) -> Statistics:
    """(..., columns) and int (...) -> (...) each, over the first `size` columns.

    A GPU reads the logits once, and once more for the gradient, and saves nothing of their size but the logits
    themselves; a CPU is faster at separate sums and at saving the exponentials.
    """
    if platform() == "gpu":
        return Statistics(*_one_pass(logits, targets, size, mean))
    return separate(logits, targets, size, mean)


def separate(logits: jax.Array, targets: jax.Array, size: int, mean: bool) -> Statistics:
    """The same by a sum each, and autodiff."""
    logits = wide(logits)
    if size < logits.shape[-1]:
        logits = logits[..., :size]
    log_z = jax.nn.logsumexp(logits, -1)
    target = jnp.sum(jnp.where(_hot(logits, targets), logits, 0.0), -1)  # a gather would need whole logits
    return Statistics(log_z, target, jnp.mean(logits, -1) if mean else None)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _one_pass(logits: jax.Array, targets: jax.Array, size: int, mean: bool) -> tuple[jax.Array, ...]:
    """log Z, the target's logit and, if asked for, the mean, by one reduction over the columns."""
    x = wide(logits)
    lowest = np.finfo(x.dtype).min  # never -inf, of which two differ by NaN
    in_vocabulary = jnp.arange(logits.shape[-1]) < size
    terms = [
        jnp.where(in_vocabulary, jnp.maximum(x, lowest), lowest),
        jnp.where(in_vocabulary, jnp.ones_like(x), 0),
        jnp.where(_hot(logits, targets), x, 0),
    ]
    terms += [jnp.where(in_vocabulary, x, 0)] if mean else []
    zeros = [x.dtype.type(start) for start in (lowest, *[0] * (len(terms) - 1))]
    top, total, *sums = lax.reduce(tuple(terms), tuple(zeros), _joined, (logits.ndim - 1,))
    return top + jnp.log(total), sums[0], *(each / size for each in sums[1:])


def _joined(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two parts of a row's (maximum, Σ exp(logit − maximum), further sums) as one, by one exponential."""
    top, small = jnp.maximum(a[0], b[0]), jnp.exp(-jnp.abs(a[0] - b[0]))
    total = jnp.where(a[0] >= b[0], a[1] + b[1] * small, a[1] * small + b[1])
    return top, total, *(x + y for x, y in zip(a[2:], b[2:], strict=True))


def _forward(logits: jax.Array, targets: jax.Array, size: int, mean: bool) -> tuple[Any, Any]:
    out = _one_pass(logits, targets, size, mean)
    return out, (logits, targets, out[0])


def _backward(size: int, mean: bool, saved: Any, grads: tuple[jax.Array, ...]) -> tuple[jax.Array, np.ndarray]:
    logits, targets, log_z = saved
    d_log_z, d_target, *d_mean = (x[..., None] for x in grads)
    d = jnp.exp(wide(logits) - log_z[..., None]) * d_log_z + jnp.where(_hot(logits, targets), d_target, 0)
    d = d + d_mean[0] / size if mean else d
    d = jnp.where(jnp.arange(logits.shape[-1]) < size, d, 0)
    return d.astype(logits.dtype), np.zeros(targets.shape, jax.dtypes.float0)


_one_pass.defvjp(_forward, _backward)


def _hot(logits: jax.Array, targets: jax.Array) -> jax.Array:
    return targets[..., None] == jnp.arange(logits.shape[-1], dtype=targets.dtype)
