"""The train step on the least model there is: accumulation, skipping, clipping, averaging, dropout keys, precision."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from close import assert_close
from flax import linen as nn

from jaxgpt.nn.dropout import Dropout
from jaxgpt.runs.optimizers import SGD, AdamW, Optimizer
from jaxgpt.train.state import init_state
from jaxgpt.train.step import train_step

KEY = jax.random.key(3)


class Bigram(nn.Module):
    """A token table, a matrix, dropout, a tied output, and a loss of its own, a mean over rows."""

    dropout: float = 0.0
    dtype: str = "float32"
    spec = SimpleNamespace(vocab_size=32)

    def setup(self):
        self.token = self.param("token", nn.initializers.normal(0.5), (32, 16))
        self.weight = self.param("weight", nn.initializers.normal(0.5), (16, 16))
        self.drop = Dropout(self.dropout)

    def hidden(self, tokens, positions=None, segments=None, train=False):
        x = (self.token[tokens] @ self.weight).astype(self.dtype)
        self.sow("losses", "size", 0.1 * jnp.mean(jnp.square(x)))
        return self.drop(x, deterministic=not train)

    def unembed(self, hidden, columns):
        return hidden @ self.token.T.astype(self.dtype)


PLAIN, ADAMW = Bigram(), AdamW(lr=1e-2, weight_decay=0.1)


@pytest.fixture(scope="module")
def start():
    return jax.jit(lambda key: PLAIN.init(key, jnp.zeros((1, 1), int), method="hidden")["params"])(KEY)


@pytest.fixture(scope="module")
def stepper(start, tiny):
    """`stepper(...)`: an initial state and `step(state, batch, key=KEY)`, compiled once for each setting."""
    held = {}

    def get(model=PLAIN, optim=ADAMW, parts=1, ema=None):
        if (name := (model, optim, parts, ema)) not in held:
            run = tiny(**{"ema": ema, "exec.accumulate": parts}).evolve(optim=optim)
            step = jax.jit(lambda state, batch, key: train_step(run, model, state, batch, key))
            held[name] = init_state(run, start), lambda state, batch, key=KEY: step(state, batch, key)
        return held[name]

    return get


def same(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.often("4-0.3")
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_changes_nothing(stepper, batch, parts, dropout):
    """The weights of the batch are uneven between the parts, and a row drops the same in whichever it is."""
    model = Bigram(dropout=dropout)
    (state, whole), (_, split) = stepper(model), stepper(model, parts=parts)
    (want, metrics), (got, split_metrics) = whole(state, batch), split(state, batch)
    assert_close(got.params, want.params, 1e-6)
    assert_close(split_metrics, metrics)


def test_accumulation_computes_the_model_once(stepper, batch):
    """The pass that reads the weights of the parts leaves the model out."""
    flops = [
        jax.jit(lambda state, parts=parts: stepper(parts=parts)[1](state, batch))
        .lower(stepper()[0])
        .compile()
        .cost_analysis()["flops"]
        for parts in (1, 2)
    ]
    assert flops[1] < 1.2 * flops[0]


def test_a_step_counts_reports_and_learns(stepper, batch):
    state, step = stepper()
    losses = []
    for _ in range(5):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert int(state.step) == 5 and losses == sorted(losses, reverse=True)
    assert metrics["skipped"] == 0 and metrics["weight"] == pytest.approx(batch["weights"].sum(), rel=1e-6)
    assert metrics["lr"] == pytest.approx(1e-2 * (1 + np.cos(np.pi * 4 / 19)) / 2, rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("parts", [1, 4])
def test_an_update_that_is_not_finite_changes_nothing(stepper, batch, bad, parts):
    state, step = stepper(ema=0.9, parts=parts)
    state, _ = step(state, batch)
    poisoned = {**batch, "weights": batch["weights"].copy()}
    poisoned["weights"][3, 2] = bad
    after, metrics = step(state, poisoned)
    assert metrics["skipped"] == 1 and int(after.step) == int(state.step) + 1
    same(after[1:], state[1:])
    recovered, metrics = step(after, batch)
    assert metrics["skipped"] == 0 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(recovered.params))


def test_ema_is_its_formula(stepper, batch):
    state, step = stepper(ema=0.9)
    average = state.params
    same(state.ema, state.params)
    for _ in range(3):
        state, _ = step(state, batch)
        average = jax.tree.map(lambda a, p: 0.9 * np.asarray(a) + 0.1 * np.asarray(p), average, state.params)
    assert_close(state.ema, average, 1e-6)
    assert state.weights is state.ema and stepper()[0].weights is stepper()[0].params


def test_clipping_bounds_the_update_and_reports_the_norm_before(stepper, batch):
    state, step = stepper(optim=SGD(lr=1.0, momentum=0.0, clip=0.01))
    after, metrics = step(state, batch)
    moved = jax.tree.map(lambda a, b: np.asarray(a, float) - np.asarray(b, float), after.params, state.params)
    assert metrics["grad_norm"] > 0.1
    assert np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(moved))) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("parts", [1, 4])
def test_dropout_differs_by_step_and_repeats_by_seed_and_step(stepper, batch, parts):
    state, step = stepper(model=Bigram(dropout=0.3), parts=parts)
    loss = lambda number, key=KEY: float(step(state._replace(step=jnp.int32(number)), batch, key)[1]["loss"])  # noqa: E731
    draws = [loss(0), loss(1), loss(0, jax.random.key(4))]
    assert len(set(draws)) == 3 and draws[0] == loss(0)
    same(step(state, batch), step(state, batch))


@pytest.mark.parametrize(("lr", "weight_decay"), [(1e25, 1e20), (1e2, 1e38)])
def test_an_update_to_weights_that_are_not_finite_is_told(stepper, batch, lr, weight_decay):
    state, step = stepper(ema=0.9)
    _, metrics = stepper(optim=AdamW(lr=lr, weight_decay=weight_decay))[1](stepper()[0], batch)
    assert not metrics["finite"] and not metrics["skipped"]
    assert step(state, batch)[1]["finite"]


def test_bfloat16_computes_low_and_keeps_float32_masters(stepper, batch):
    (state, step), (_, full) = stepper(model=Bigram(dtype="bfloat16")), stepper()
    after, metrics = step(state, batch)
    want = full(state, batch)[1]
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(after))
    assert metrics["loss"].dtype == jnp.float32 and metrics["loss"] != want["loss"]
    assert metrics["loss"] == pytest.approx(float(want["loss"]), rel=0.02)


class Searched(Optimizer):
    """Steepest descent with the longest step, a power of 1/2, by which the loss falls enough."""

    def scale(self):
        search = optax.scale_by_backtracking_linesearch(12, decrease_factor=0.5, increase_factor=2.0)
        return optax.chain(optax.scale(-1.0), search, optax.scale(-1.0))


@pytest.mark.parametrize("parts", [1, 4])
def test_an_optimiser_may_ask_for_the_loss_at_other_weights(stepper, batch, parts):
    """What the search says that the loss will be is what the next step, with the same dropout, measures."""
    state, step = stepper(Bigram(dropout=0.3), Searched(lr=1.0, clip=None), parts)
    measured, promised = [], []
    for _ in range(4):
        state, metrics = step(state._replace(step=jnp.int32(0)), batch)
        measured.append(float(metrics["loss"] + metrics["aux/size"]))
        promised.append(float(optax.tree.get(state.opt_state, "value")))
    assert measured == sorted(measured, reverse=True) and measured[3] < 0.9 * measured[0]
    np.testing.assert_allclose(promised[:3], measured[1:], rtol=1e-6)
