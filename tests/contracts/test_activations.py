"""Every activation equals its formula, elementwise, and keeps shape and dtype."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from close import assert_close

SEAM = "activation"
PLAIN = {
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
}
POINTS = np.concatenate([np.linspace(-8, 8, 64), [-30.0, 30.0]]).astype(np.float32)  # 0 is not among them


def test_value_and_slope_equal_the_formula(member, by_kind):
    plain = by_kind(PLAIN)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(member)))(POINTS)
    points, step = POINTS.astype(float), 1e-5
    assert_close(value, [plain(x) for x in points], 2e-6)
    assert_close(slope, [(plain(x + step) - plain(x - step)) / (2 * step) for x in points], 2e-5)


def test_shape_and_dtype_are_kept(member):
    x = jax.ShapeDtypeStruct((2, 3, 5), jnp.bfloat16)
    assert jax.eval_shape(member, x) == x
