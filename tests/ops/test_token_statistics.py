"""The one-pass statistics of logits: against 64 bits in value and gradient, extreme logits, and how often they read."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops import token_statistics
from jaxgpt.ops.losses import cross_entropy
from jaxgpt.ops.token_statistics import _joined, _one_pass, separate, statistics

N, V, COLUMNS = 6, 37, 48
rng = np.random.default_rng(0)
LOGITS = (3 * rng.standard_normal((N, COLUMNS))).astype(np.float32)
TARGETS = rng.integers(0, V, N).astype(np.int32)
WEIGHTS = rng.standard_normal((3, N)).astype(np.float32)


def weighed(function, logits, weights=WEIGHTS):
    """A sum in which each statistic of each token has a weight of its own, and its gradient."""

    def total(logits):
        return sum(jnp.sum(w * x) for w, x in zip(weights, function(logits, TARGETS, V, True), strict=True))

    return jax.jit(jax.value_and_grad(total))(logits)


@pytest.fixture(scope="module")
def exact():
    with jax.enable_x64(True):
        return weighed(separate, LOGITS.astype(np.float64), WEIGHTS.astype(np.float64))


@pytest.mark.parametrize("function", [_one_pass, separate])
def test_value_and_gradient(function, exact):
    """Columns beyond the vocabulary count for nothing, whatever they hold."""
    assert_close(weighed(function, LOGITS), exact, 2e-6)
    np.testing.assert_array_equal(weighed(function, LOGITS)[1][:, V:], 0)


def test_a_gradient_of_bfloat16_logits_is_rounded_once(exact):
    low = jnp.bfloat16(LOGITS)
    _, grad = weighed(_one_pass, low)
    assert grad.dtype == jnp.bfloat16
    _, want = weighed(_one_pass, low.astype(jnp.float32))
    np.testing.assert_array_equal(grad, want.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    "row",
    [
        np.full(V, 1e30),
        np.full(V, -1e30),
        np.full(V, 5.0),
        np.where(np.arange(V) == 3, 1e30, -1e30),
        np.where(np.arange(V) < 4, 1.0, -np.inf),
        np.where(np.arange(V) == V - 1, 2.0, np.finfo(np.float32).min),
    ],
    ids=["1e30", "-1e30", "ties", "both", "-inf", "lowest"],
)
def test_extreme_logits(row):
    """As log-sum-exp has them in 64 bits; -inf is a token that cannot be."""
    logits = np.pad(np.float32(row), (0, COLUMNS - V))
    with np.errstate(over="ignore"):
        top = float(row.max())
        want = top + np.log(np.exp(row - top).sum())
    log_z, target, _ = jax.jit(lambda x: _one_pass(x, jnp.int32(3), V, True))(logits)
    assert_close(log_z, want, 1e-6)
    assert_close(target, np.float32(row[3]), 1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_stays_none(bad):
    logits = np.pad(np.full(V, 1.0, np.float32), (0, COLUMNS - V))
    logits[5] = bad
    log_z, *_ = _one_pass(logits, jnp.int32(3), V, False)
    assert not np.isfinite(log_z)


def test_parts_may_be_joined_in_any_order():
    """A device may reduce the columns in any tree: halves, with each other or with nothing, give the whole."""
    x = (30 * rng.standard_normal(8)).astype(np.float32)
    lowest = np.finfo(np.float32).min
    leaves = [(v, np.float32(1), v) for v in x]
    empty = (lowest, np.float32(0), np.float32(0))
    whole = leaves[0]
    for leaf in leaves[1:]:
        whole = _joined(whole, leaf)
    tree = _joined(empty, _joined(leaves[7], empty))
    for pair in (0, 2, 4):
        tree = _joined(_joined(leaves[pair + 1], leaves[pair]), tree)
    tree = _joined(tree, leaves[6])
    assert_close(tree, whole, 1e-6)


def reads(function, size):
    """Reductions over the logits in a gradient's program, and float32 arrays of their size that are saved for it."""

    def loss(logits):
        return jnp.sum(function(logits, TARGETS, size=size)[0])

    logits = jnp.bfloat16(LOGITS)
    text = str(jax.make_jaxpr(jax.grad(loss))(logits))
    _, saved = jax.vjp(loss, logits)
    wide = [x for x in jax.tree.leaves(saved) if x.size >= logits.size and x.dtype.itemsize > 2]
    sums = [line for line in text.splitlines() if "reduce" in line and f",{COLUMNS}]" not in line.split("=")[0]]
    return [line for line in sums if f"[{N}]" in line.split("=")[0]], wide


@pytest.mark.parametrize(("smoothing", "z_loss"), [(0.0, 0.0), (0.1, 1e-3)])
def test_one_reduction_over_the_vocabulary_and_no_wide_array_saved(monkeypatch, smoothing, z_loss):
    """As traced for a GPU; the same count finds the several sums of the other way."""
    function = partial(cross_entropy, label_smoothing=smoothing, z_loss=z_loss)
    assert len(reads(function, V)[0]) > 1
    monkeypatch.setattr(token_statistics, "platform", lambda: "gpu")
    sums, wide = reads(function, V)
    assert len(sums) == 1 and not wide


def test_on_a_gpu_the_loss_is_the_same(monkeypatch):
    run = lambda: jax.jit(jax.value_and_grad(lambda x: jnp.sum(cross_entropy(x, TARGETS, 0.1, 0.01, V)[0])))(LOGITS)  # noqa: E731
    want = run()
    monkeypatch.setattr(token_statistics, "platform", lambda: "gpu")
    assert_close(run(), want, 2e-6)


def test_many_runs_at_once():
    """Fused seeds: the same targets, logits of their own."""
    many = np.stack([LOGITS, 2 * LOGITS])
    for mean in (False, True):
        got = jax.jit(jax.vmap(lambda x, mean=mean: _one_pass(x, TARGETS, V, mean)))(many)
        want = [jnp.stack(pair) for pair in zip(*(_one_pass(x, TARGETS, V, mean) for x in many), strict=True)]
        assert_close(list(got), want, 1e-6)


def test_without_more_columns_nothing_is_masked_away():
    got = statistics(LOGITS[:, :V], TARGETS, V, False)
    assert got.mean is None
    assert_close(got.target, LOGITS[np.arange(N), TARGETS])
