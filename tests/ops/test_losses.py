"""Cross-entropy against the formula in float64, and chunked against whole in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.losses import chunked_cross_entropy, cross_entropy

N, D, V = 10, 6, 17
rng = np.random.default_rng(0)
HIDDEN = rng.standard_normal((N, D)).astype(np.float32)
WEIGHT = rng.standard_normal((D, V)).astype(np.float32)
TARGETS = rng.integers(0, V, N).astype(np.int32)


@pytest.mark.parametrize(("smoothing", "z_loss"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.01), (0.3, 0.02)])
def test_the_formula(smoothing, z_loss):
    logits = 3 * rng.standard_normal((N, V))
    log_z = np.log(np.exp(logits).sum(-1))
    log_p = logits - log_z[:, None]
    share = np.full((N, V), smoothing / V)
    share[np.arange(N), TARGETS] += 1 - smoothing
    loss, nll = cross_entropy(jnp.float32(logits), TARGETS, smoothing, z_loss)
    assert_close(nll, -log_p[np.arange(N), TARGETS])
    assert_close(loss, -(share * log_p).sum(-1) + z_loss * log_z**2)
    assert loss.dtype == nll.dtype == jnp.float32


def test_uniform_logits_cost_the_log_of_the_vocabulary():
    loss, _ = cross_entropy(jnp.zeros((2, V)), jnp.array([0, 3]), 0.2)
    assert_close(loss, np.full(2, np.log(V)), 1e-6)


def test_large_logits_stay_finite():
    run = jax.jit(jax.value_and_grad(lambda x: jnp.sum(cross_entropy(x, TARGETS)[0])))
    value, grad = run(jnp.float32(1e30 * rng.standard_normal((N, V))))
    assert np.isfinite(value) and np.isfinite(grad).all()


@pytest.fixture(scope="module")
def chunked():
    def run(chunk, n=N, rows=2):
        def loss(hidden, weight):
            targets = TARGETS[:n].reshape(rows, -1)
            loss, nll = chunked_cross_entropy(lambda h: h @ weight, hidden, targets, chunk, 0.1, 0.01)
            return jnp.sum(loss * jnp.arange(1, n + 1).reshape(targets.shape)), (loss, nll)

        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(HIDDEN[:n].reshape(rows, -1, D), WEIGHT)

    return run


@pytest.fixture(scope="module")
def whole(chunked):
    return chunked(None)


@pytest.mark.parametrize("chunk", [1, 3, 5, 9, 10, 64])
def test_any_chunk_equals_none(chunked, whole, chunk):
    """Also where the chunk does not divide the rows: what is padded neither counts nor has a gradient."""
    assert_close(chunked(chunk), whole)


def test_a_chunk_bounds_the_logits_alive():
    """No array of (rows, vocabulary) exists in the program, neither forward nor backward."""
    targets = TARGETS.reshape(2, -1)
    loss = lambda h, w: jnp.sum(chunked_cross_entropy(lambda x: x @ w, h, targets, 4)[0])  # noqa: E731
    text = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(HIDDEN.reshape(2, -1, D), WEIGHT))
    assert f"f32[2,2,{V}]" in text and f"f32[2,5,{V}]" not in text and f"f32[3,2,2,{V}]" not in text


@pytest.mark.parametrize("shards", [1, 5])
def test_tokens_split_over_devices_are_cut_within_each_part(chunked, whole, monkeypatch, shards):
    monkeypatch.setattr("jaxgpt.ops.losses.token_shards", lambda: shards)
    for chunk in (1, 4):
        assert_close(chunked(chunk), whole)
