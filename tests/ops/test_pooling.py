"""Each pooling against a loop over a row's own tokens; padding, on either side, reaches neither value nor gradient."""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.pooling import POOLINGS, normalise

B, T, D = 4, 6, 5
rng = np.random.default_rng(0)
HIDDEN = rng.standard_normal((B, T, D)).astype(np.float32)
STARTS, STOPS = (0, 0, 3, 1), (6, 2, 6, 2)
REAL = np.array([[start <= t < stop for t in range(T)] for start, stop in zip(STARTS, STOPS, strict=True)])
PLAIN = {
    "cls": lambda h: h[0],
    "last": lambda h: h[-1],
    "max": lambda h: h.max(0),
    "mean": lambda h: h.sum(0) / len(h),
    "mean_sqrt_len": lambda h: h.sum(0) / len(h) ** 0.5,
    "weighted_mean": lambda h: sum((i + 1) * row for i, row in enumerate(h)) / (len(h) * (len(h) + 1) / 2),
}


@pytest.mark.parametrize("name", POOLINGS)
def test_equals_a_loop_over_the_real_tokens(name):
    got = jax.jit(POOLINGS[name])(HIDDEN, REAL)
    want = [PLAIN[name](row[start:stop]) for row, start, stop in zip(HIDDEN, STARTS, STOPS, strict=True)]
    assert got.shape == (B, D) and got.dtype == np.float32
    assert_close(got, np.stack(want), 1e-6)


@pytest.mark.parametrize("name", POOLINGS)
def test_padding_may_hold_anything(name):
    spoiled = np.where(REAL[..., None], HIDDEN, np.nan)
    pool = jax.jit(POOLINGS[name])
    np.testing.assert_array_equal(pool(spoiled, REAL), pool(HIDDEN, REAL))
    grad = jax.jit(jax.grad(lambda h: POOLINGS[name](h, REAL).sum()))(HIDDEN)
    assert not np.abs(grad[~REAL]).any() and np.isfinite(grad).all()
    assert all(np.abs(row[real]).sum() > 0 for row, real in zip(grad, REAL, strict=True))


def test_length_one():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0], [1e-3, 0.0]], np.float32)
    assert_close(jax.jit(normalise)(vectors), np.array([[0.6, 0.8], [0, 0], [1, 0]]), 1e-6)
    grad = jax.jit(jax.grad(lambda v: normalise(v).sum()))(vectors)
    assert np.isfinite(grad).all()
