"""The train step and the evaluation step: pure functions of a run, its model, the state, a batch and a key."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgpt.objectives.objective import Batch
from jaxgpt.ops.random_masks import by_row
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.trainable import merge_params
from jaxgpt.spec.inputs import bind
from jaxgpt.train.gradient import Metrics, gradient
from jaxgpt.train.state import State


def train_step(
    run: ObjectiveRun, model: nn.Module, state: State, batch: Batch, key: jax.Array
) -> tuple[State, Metrics]:
    """One update of `run`, whose inputs (learning rate, weight decay, ...) may be traced numbers.

    `key` is the run's own. Dropout and masks are drawn by a row's number in the batch, so the `exec.accumulate` parts
    of a batch draw what the whole would.

    An update whose loss or gradient is not finite changes nothing but the step count; the metric `skipped` says so. One
    that makes weights that are not finite cannot be taken back; the metric `finite` says so, and the run must end.
    """
    key, frozen, carry = jax.random.fold_in(key, state.step), state.frozen, state.carry
    state = state.saved._replace(carry=None)
    if carry is not None:
        batch = {**batch, "carry": carry}

    def loss(params: Any, batch: Batch, rows: jax.Array) -> tuple[jax.Array, Metrics]:
        with by_row(rows):
            return run.objective.loss(model, merge_params(params, frozen), batch, key)

    value, grads, metrics, value_at = gradient(loss, state.params, batch, run.exec.accumulate)
    optim = bind(run.optim, {"lr": run.optim.lr * run.schedule(state.step, run.steps)})
    norm = optax.tree.norm(grads)
    sound = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])
    if carry is not None:
        carry = jax.tree.map(lambda after, before: jnp.where(sound, after, before), metrics.pop("carry"), carry)

    def update(state: State, grads: Any) -> State:
        about = {"value": value, "grad": grads, "value_fn": value_at}
        updates, opt_state = optim.build().update(grads, state.opt_state, state.params, **about)
        params = optax.apply_updates(state.params, updates)
        average, decay = state.ema, run.ema
        if decay is not None:
            average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params)
        return State(state.step + 1, params, opt_state, average)

    new = jax.lax.cond(sound, update, lambda state, _: state._replace(step=state.step + 1), state, grads)
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((new.params, new.ema))]).all()
    return new._replace(frozen=frozen, carry=carry), {
        **metrics,
        "grad_norm": norm,
        "lr": optim.lr,
        "skipped": ~sound,
        "finite": finite,
    }


def eval_step(run: ObjectiveRun, model: nn.Module, params: Any, batch: Batch) -> Metrics:
    """Metrics of a batch without dropout, to be averaged by their weight."""
    return run.objective.loss(model, params, batch, None)[1]
