"""The gradient of a batch's loss, taken whole or summed over slices of the batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgpt.objectives.objective import Batch
from jaxgpt.ops.sharding import constrain_tree

Metrics = dict[str, jax.Array]
RowLoss = Callable[[Any, Batch, jax.Array], tuple[jax.Array, Metrics]]
"""`(params, batch, rows) -> (value, metrics)`; rows: int32 (B,), the numbers of the batch's rows in the whole batch."""


class Gradient(NamedTuple):
    """The loss of a batch at some parameters, and what it changes with."""

    value: jax.Array
    """float32 scalar: the loss that is differentiated, auxiliary losses included."""
    grads: Any
    metrics: Metrics
    value_at: Callable[[Any], jax.Array]
    """The loss of the same batch, with the same dropout, at other parameters."""


def gradient(loss: RowLoss, params: Any, batch: Batch, parts: int) -> Gradient:
    """The gradient over a batch, computed in `parts` slices of it one after the other."""
    rows = jnp.arange(jax.tree.leaves(batch)[0].shape[0])
    if parts == 1:
        return Gradient(*_gradient(loss, params, batch, rows), lambda p: loss(p, batch, rows)[0])
    # Neighbouring rows go to different parts, so that every device keeps a share of each.
    sliced = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), (batch, rows))
    # Only the weights of this pass are read. No model decides them, so the compiler leaves the rest of it out.
    weight_P = jax.lax.map(lambda part: loss(params, *part)[1]["weight"], sliced)
    total = jnp.sum(weight_P)

    def summand(p: Any, part: Any, weight: jax.Array) -> tuple[jax.Array, Metrics]:
        """A part's share of the whole's loss and metrics: by weight, but for what layers add, by rows."""
        by_weight = weight / jnp.maximum(total, 1e-9)
        value, metrics = loss(p, *part)
        added = {name: metrics.pop(name) for name in list(metrics) if name.startswith("aux/")}
        extra = sum(added.values(), jnp.float32(0.0))
        shares = {name: x * by_weight for name, x in metrics.items()}
        return (value - extra) * by_weight + extra / parts, shares | {n: x / parts for n, x in added.items()}

    def add(sums: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, _gradient(summand, params, *part)), None

    first = jax.tree.map(lambda x: x[0], (sliced, weight_P))
    shapes = jax.eval_shape(lambda *part: _gradient(summand, params, *part), *first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    (value, grads, metrics), _ = jax.lax.scan(add, zeros, (sliced, weight_P))

    def value_at(p: Any) -> jax.Array:
        return jnp.sum(jax.lax.map(lambda part: summand(p, *part)[0], (sliced, weight_P)))

    return Gradient(value, grads, {**metrics, "weight": total}, value_at)


def _gradient(
    loss: Callable[..., tuple[jax.Array, Metrics]], params: Any, *rest: Any
) -> tuple[jax.Array, Any, Metrics]:
    (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, *rest)
    return value, constrain_tree(grads, "gradients"), metrics
