"""The train step and the evaluation step: pure functions of state, batch and key. One serves every objective."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgpt.objectives import Objective
from jaxgpt.ops.placing import place_tree
from jaxgpt.train.schedule import Schedule
from jaxgpt.train.state import State

Metrics = dict[str, jax.Array]


def init_state(params: Any, tx: optax.GradientTransformation, ema: bool) -> State:
    """The state before the first update."""
    average = jax.tree.map(jnp.copy, params) if ema else None
    return State(jnp.zeros((), jnp.int32), params, tx.init(params), average)


def train_step(
    model: nn.Module,
    objective: Objective,
    tx: optax.GradientTransformation,
    schedule: Schedule,
    steps: int,
    parts: int,
    ema: float | None,
) -> Callable[[State, Mapping[str, jax.Array], jax.Array, Metrics], tuple[State, Metrics]]:
    """`step(state, batch, key, hyper)`: one update, its gradient summed over `parts` slices of the batch.

    `key` is the run's own; `hyper` holds the peak `lr` and the `weight_decay` as inputs, so runs that differ in them
    share one program. An update whose loss or gradient is not finite changes nothing but the step count; the metric
    `skipped` says so.
    """

    def gradient(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> tuple[Any, Metrics]:
        grads, metrics = jax.grad(lambda p: objective.loss(model, p, batch, key), has_aux=True)(params)
        return place_tree(grads, "gradients"), metrics

    def weighted(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Any:
        grads, metrics = gradient(params, batch, key)
        weight = metrics["weight"]
        scaled = jax.tree.map(lambda x: x * weight, (grads, {k: v for k, v in metrics.items() if k != "weight"}))
        return scaled, weight

    def whole(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> tuple[Any, Metrics]:
        if parts == 1:
            return gradient(params, batch, key)
        # Neighbouring rows go to different parts, so that every device keeps a share of each.
        sliced = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
        first = jax.eval_shape(weighted, params, jax.tree.map(lambda x: x[0], sliced), key)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)

        def body(total: Any, part: Any) -> tuple[Any, None]:
            index, batch_part = part
            return jax.tree.map(jnp.add, total, weighted(params, batch_part, jax.random.fold_in(key, index))), None

        ((grads, metrics), weight), _ = jax.lax.scan(body, zeros, (jnp.arange(parts), sliced))
        grads, metrics = jax.tree.map(lambda x: x / jnp.maximum(weight, 1e-9), (grads, metrics))
        return grads, {**metrics, "weight": weight}

    def step(state: State, batch: Mapping[str, jax.Array], key: jax.Array, hyper: Metrics) -> tuple[State, Metrics]:
        grads, metrics = whole(state.params, batch, jax.random.fold_in(key, state.step))
        lr = hyper["lr"] * schedule(state.step, steps)
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])

        def update(state: State, grads: Any) -> State:
            settings = {"learning_rate": lr, "weight_decay": hyper["weight_decay"]}
            updates, opt_state = tx.update(grads, state.opt_state._replace(hyperparams=settings), state.params)
            params = optax.apply_updates(state.params, updates)
            average = state.ema
            if ema is not None:
                average = jax.tree.map(lambda a, p: ema * a + (1 - ema) * p, state.ema, params)
            return State(state.step + 1, params, opt_state, average)

        new = jax.lax.cond(finite, update, lambda state, _: state._replace(step=state.step + 1), state, grads)
        return new, {**metrics, "grad_norm": norm, "lr": lr, "skipped": 1 - finite.astype(jnp.int32)}

    return step


def eval_step(model: nn.Module, objective: Objective) -> Callable[[Any, Mapping[str, jax.Array]], Metrics]:
    """`evaluate(params, batch)`: metrics without dropout, to be averaged by their weight."""

    def evaluate(params: Any, batch: Mapping[str, jax.Array]) -> Metrics:
        return objective.loss(model, params, batch, None)[1]

    return evaluate
