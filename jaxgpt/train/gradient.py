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
    weight_P = jax.lax.map(lambda part: _weights(loss(params, *part)[1]), sliced)
    total = jax.tree.map(jnp.sum, weight_P)

    def summand(p: Any, part: Any, weight: Metrics) -> tuple[jax.Array, Metrics]:
        """A part's share of the whole's loss and metrics: by weight, but for what is added, by a weight of its own or
        else by rows."""
        share = {name: w / jnp.maximum(total[name], 1e-9) for name, w in weight.items()}
        value, metrics = loss(p, *part)
        added = {name: x for name, x in metrics.items() if name.startswith("aux/")}
        extra = sum(added.values(), jnp.float32(0.0))
        parts_of = {name: x * share.get(name.replace("aux", "weight", 1), 1 / parts) for name, x in added.items()}
        main = {name: x * share["weight"] for name, x in metrics.items() if name not in added and name not in weight}
        return sum(parts_of.values(), (value - extra) * share["weight"]), main | parts_of

    def add(sums: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, _gradient(summand, params, *part)), None

    first = jax.tree.map(lambda x: x[0], (sliced, weight_P))
    shapes = jax.eval_shape(lambda *part: _gradient(summand, params, *part), *first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    (value, grads, metrics), _ = jax.lax.scan(add, zeros, (sliced, weight_P))

    def value_at(p: Any) -> jax.Array:
        return jnp.sum(jax.lax.map(lambda part: summand(p, *part)[0], (sliced, weight_P)))

    return Gradient(value, grads, metrics | total, value_at)


def _weights(metrics: Metrics) -> Metrics:
    """What the loss and what is added to it count by."""
    return {name: x for name, x in metrics.items() if name.startswith("weight")}


def _gradient(
    loss: Callable[..., tuple[jax.Array, Metrics]], params: Any, *rest: Any
) -> tuple[jax.Array, Any, Metrics]:
    (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, *rest)
    return value, constrain_tree(grads, "gradients"), metrics
