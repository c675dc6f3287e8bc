"""Every attention kernel equals a softmax written out in numpy, in value and gradient, or refuses and says who can."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgpt.ops.attention import Scores
from jaxgpt.ops.patterns import Banded, Bidirectional, Causal
from jaxgpt.spec import ConfigError

SEAM = "kernel"
B, T, H, K = 2, 8, 4, 8
AT = np.arange(T, dtype=np.int32)
rng = np.random.default_rng(0)
PACKED = np.array([[1, 1, 1, 2, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1, 2, 2]], np.int32)
CASES: dict[str, dict[str, Any]] = {
    "causal": {},
    "grouped": {"groups": 2},
    "multi_query": {"groups": 1, "pattern": Banded(window=3)},
    "bidirectional": {"pattern": Bidirectional()},
    "bias": {"bias": rng.standard_normal((H, T, T)).astype(np.float32)},
    "bias of each row": {"bias": rng.standard_normal((B, H, T, T)).astype(np.float32), "groups": 2},
    "soft_cap": {"soft_cap": 0.5},
    "segments": {"q_segment": PACKED, "k_segment": PACKED},
    "empty keys": {"k_pos": np.where(AT < 5, AT, -1), "pattern": Bidirectional(), "groups": 2},
    "rows without a key": {"k_pos": np.stack([AT, np.full(T, -1)]).astype(np.int32), "q_pos": np.stack([AT, AT])},
    "first row sees none": {"k_pos": np.concatenate([AT[1:], AT[-1:] + 1])},
    "decode": {"queries": 1, "q_pos": np.array([[3], [5]], np.int32), "k_pos": np.stack([AT, AT]), "groups": 2},
    "soft_cap, bias and segments": {
        "soft_cap": 1.0,
        "bias": rng.standard_normal((H, T, T)).astype(np.float32),
        "q_segment": PACKED,
        "k_segment": PACKED,
        "pattern": Banded(window=4),
    },
}


def case(name):
    fields = {"pattern": Causal(), "q_pos": AT, "k_pos": AT} | CASES[name]
    groups, queries = fields.pop("groups", H), fields.pop("queries", T)
    shapes = (B, H, queries, K), (B, groups, T, K), (B, groups, T, K)
    q, k, v = (2 * rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return q, k, v, Scores(**fields)


def plain(xp, q, k, v, scores):
    """Softmax attention without any trick; `xp` is numpy (float64) or jax.numpy (for gradients)."""
    q_pos, k_pos = (np.broadcast_to(pos, (B, pos.shape[-1])) for pos in (scores.q_pos, scores.k_pos))
    mask = np.asarray(scores.pattern.allows(q_pos[:, :, None], k_pos[:, None, :])) & (k_pos[:, None, :] >= 0)
    if scores.q_segment is not None:
        mask = mask & (scores.q_segment[:, :, None] == scores.k_segment[:, None, :])
    mask = mask[:, None]
    k, v = (xp.repeat(x, H // x.shape[1], axis=1) for x in (k, v))
    s = xp.einsum("bhtk,bhsk->bhts", q, k) / K**0.5
    if scores.soft_cap is not None:
        s = scores.soft_cap * xp.tanh(s / scores.soft_cap)
    if scores.bias is not None:
        s = s + scores.bias
    e = xp.exp(xp.where(mask, s, -1e9)) * mask
    total = e.sum(-1, keepdims=True)
    return xp.einsum("bhts,bhsk->bhtk", e / xp.where(total == 0, 1.0, total), v)


def attend(member, q, k, v, scores):
    try:
        return member.attend(q, k, v, scores)
    except ConfigError as refusal:
        assert len(refusal.problems) == 1 and "reference" in str(refusal), "a refusal names a kernel that can do it"
        pytest.skip(str(refusal))


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_equal_the_plain_formula(member, name):
    q, k, v, scores = case(name)
    want = plain(np, *(x.astype(np.float64) for x in (q, k, v)), scores)
    mix = rng.standard_normal(want.shape).astype(np.float32)

    @jax.jit
    def both(q, k, v):
        loss = lambda *x: jnp.sum(attend(member, *x, scores) * mix)  # noqa: E731
        slow = lambda *x: jnp.sum(plain(jnp, *x, scores) * mix)  # noqa: E731
        return attend(member, q, k, v, scores), jax.grad(loss, (0, 1, 2))(q, k, v), jax.grad(slow, (0, 1, 2))(q, k, v)

    got, grads, want_grads = both(q, k, v)
    assert got.dtype == q.dtype
    np.testing.assert_allclose(got, want, atol=2e-6)
    for name, grad, want_grad in zip("qkv", grads, want_grads, strict=True):
        np.testing.assert_allclose(grad, want_grad, atol=2e-5, err_msg=f"gradient of {name}")


def test_rows_without_a_key_are_zero_and_have_zero_gradient(member):
    q, k, v, scores = case("rows without a key")
    run = jax.jit(lambda *x: jax.vjp(lambda *y: attend(member, *y, scores), *x)[0])
    assert not np.asarray(run(q, k, v))[1].any()
    grads = jax.jit(jax.grad(lambda *x: jnp.sum(attend(member, *x, scores)[1]), (0, 1, 2)))(q, k, v)
    assert not any(np.asarray(grad).any() for grad in grads)


def test_large_scores_stay_finite(member):
    q, k, v, scores = case("causal")
    value, grads = jax.jit(jax.value_and_grad(lambda *x: jnp.sum(attend(member, *x, scores)), (0, 1, 2)))(
        1e4 * q, 1e4 * k, v
    )
    assert np.isfinite(value) and all(np.isfinite(grad).all() for grad in grads)


def test_bfloat16_stays_within_its_rounding(member):
    q, k, v, scores = case("grouped")
    q, k, v = (jnp.bfloat16(x) for x in (q, k, v))
    got = jax.jit(lambda *x: attend(member, *x, scores))(q, k, v)
    want = plain(np, *(np.asarray(x, np.float64) for x in (q, k, v)), scores)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(got, np.float64), want, atol=0.04, rtol=0.02)


def test_dropout_zeroes_weights_and_rescales_the_rest(member):
    q, k, _, scores = case("bidirectional")
    identity = np.broadcast_to(np.eye(T, dtype=np.float32), (B, H, T, T))  # K == T: the output is the weights
    assert K == T
    dropped = scores._replace(dropout=0.25)
    whole = np.asarray(jax.jit(lambda: attend(member, q, k, identity, scores))())
    keyed = jax.jit(lambda key: attend(member, q, k, identity, dropped._replace(dropout_key=key)))
    got = np.asarray(keyed(jax.random.key(0)))
    kept = got > 0
    assert 0.15 < 1 - kept.mean() < 0.35
    np.testing.assert_allclose(got[kept], (whole / 0.75)[kept], rtol=1e-5)
    assert (np.asarray(keyed(jax.random.key(1))) != got).any()
    np.testing.assert_array_equal(keyed(jax.random.key(0)), got)
