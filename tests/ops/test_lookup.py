"""The embedding lookup: `take` in value and in gradient, on both sides of the size where its gradient changes form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.lookup import SMALL, lookup

rng = np.random.default_rng(0)


@pytest.mark.parametrize("rows", [7, SMALL, SMALL + 1])
def test_value_and_gradient_equal_takes(rows):
    table, ids = rng.standard_normal((rows, 3)).astype(np.float32), rng.integers(0, rows, (4, 5))
    ids[0] = rows - 1  # a row met often: its gradients add up
    mix = rng.standard_normal((4, 5, 3)).astype(np.float32)
    run = lambda how: jax.jit(jax.value_and_grad(lambda table: jnp.sum(how(table) * mix)))(table)  # noqa: E731
    (value, grad), (want, want_grad) = run(lambda t: lookup(t, ids)), run(lambda t: jnp.take(t, ids, axis=0))
    assert value == pytest.approx(float(want), rel=1e-6)
    assert_close(grad, want_grad, 1e-6)
    assert lookup(table, ids).shape == (4, 5, 3)


@pytest.mark.parametrize("rows", [7, SMALL + 1])
def test_a_bfloat16_gradient_is_summed_in_float32(rows):
    """512 contributions of 1 + 1/128: a running sum in bfloat16 would stop growing at 256."""
    table, ids = jnp.zeros((rows, 2), jnp.bfloat16), np.zeros(512, np.int32)
    grad = jax.jit(jax.grad(lambda t: jnp.sum(lookup(t, ids).astype(jnp.float32) * (1 + 1 / 128))))(table)
    assert grad.dtype == jnp.bfloat16
    assert float(grad[0, 0]) == pytest.approx(516, rel=0.005) and not np.asarray(grad[1:]).any()
