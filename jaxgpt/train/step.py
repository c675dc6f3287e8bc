"""The train step and the evaluation step: pure functions of state, batch and key. One serves every objective."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgpt.objectives import Objective
from jaxgpt.objectives.objective import Batch
from jaxgpt.ops.random_masks import by_row
from jaxgpt.ops.sharding import place_tree
from jaxgpt.runs.schedules import Schedule
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
) -> Callable[[State, Batch, jax.Array, Metrics], tuple[State, Metrics]]:
    """`step(state, batch, key, hyper)`: one update, its gradient summed over `parts` slices of the batch.

    `key` is the run's own; `hyper` holds the peak `lr` and the `weight_decay` as inputs, so runs that differ in them
    share one program. Dropout and masks are drawn by a row's number in the batch, so parts draw what the whole would.

    An update whose loss or gradient is not finite changes nothing but the step count; the metric `skipped` says so. One
    that makes weights that are not finite cannot be taken back; the metric `finite` says so, and the run must end.
    """

    def loss(params: Any, batch: Batch, rows: jax.Array, key: jax.Array) -> tuple[jax.Array, Metrics]:
        with by_row(rows):
            return objective.loss(model, params, batch, key)

    def gradient(loss: Callable[[Any], tuple[jax.Array, Metrics]], params: Any) -> tuple[Any, Metrics]:
        grads, metrics = jax.grad(loss, has_aux=True)(params)
        return place_tree(grads, "gradients"), metrics

    def whole(params: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
        rows = jnp.arange(jax.tree.leaves(batch)[0].shape[0])
        if parts == 1:
            return gradient(lambda p: loss(p, batch, rows, key), params)
        # Neighbouring rows go to different parts, so that every device keeps a share of each.
        sliced = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), (batch, rows))
        # Only the weights of this pass are read. No model decides them, so the compiler leaves the rest of it out.
        weight_P = jax.lax.map(lambda part: loss(params, part[0], part[1], key)[1]["weight"], sliced)
        total = jnp.sum(weight_P)

        def summand(part: Any, weight: jax.Array) -> tuple[Any, Metrics]:
            """A part's share of the whole's gradient and metrics: by weight, but for what layers add, by rows."""
            by_weight = weight / jnp.maximum(total, 1e-9)

            def scaled(p: Any) -> tuple[jax.Array, Metrics]:
                value, metrics = loss(p, part[0], part[1], key)
                added = {name: metrics.pop(name) for name in list(metrics) if name.startswith("aux/")}
                extra = sum(added.values(), jnp.float32(0.0))
                shares = {name: x * by_weight for name, x in metrics.items()}
                return (value - extra) * by_weight + extra / parts, shares | {n: x / parts for n, x in added.items()}

            return gradient(scaled, params)

        def add(sums: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, sums, summand(*part)), None

        shapes = jax.eval_shape(summand, *jax.tree.map(lambda x: x[0], (sliced, weight_P)))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        (grads, metrics), _ = jax.lax.scan(add, zeros, (sliced, weight_P))
        return grads, {**metrics, "weight": total}

    def step(state: State, batch: Batch, key: jax.Array, hyper: Metrics) -> tuple[State, Metrics]:
        grads, metrics = whole(state.params, batch, jax.random.fold_in(key, state.step))
        lr = hyper["lr"] * schedule(state.step, steps)
        norm = optax.tree.norm(grads)
        sound = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])

        def update(state: State, grads: Any) -> State:
            settings = {"learning_rate": lr, "weight_decay": hyper["weight_decay"]}
            updates, opt_state = tx.update(grads, state.opt_state._replace(hyperparams=settings), state.params)
            params = optax.apply_updates(state.params, updates)
            average = state.ema
            if ema is not None:
                average = jax.tree.map(lambda a, p: ema * a + (1 - ema) * p, state.ema, params)
            return State(state.step + 1, params, opt_state, average)

        new = jax.lax.cond(sound, update, lambda state, _: state._replace(step=state.step + 1), state, grads)
        finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((new.params, new.ema))]).all()
        return new, {**metrics, "grad_norm": norm, "lr": lr, "skipped": ~sound, "finite": finite}

    return step


def eval_step(model: nn.Module, objective: Objective) -> Callable[[Any, Batch], Metrics]:
    """`evaluate(params, batch)`: metrics without dropout, to be averaged by their weight."""

    def evaluate(params: Any, batch: Batch) -> Metrics:
        return objective.loss(model, params, batch, None)[1]

    return evaluate
