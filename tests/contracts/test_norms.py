"""Every norm equals its formula in numpy, keeps shape and dtype, and names its parameters as checkpoints expect."""

import jax
import jax.numpy as jnp
import numpy as np
from close import assert_close

SEAM = "norm"
EXAMPLES = {"layer": [{}, {"bias": False, "eps": 1e-2}], "rms": [{}, {"eps": 1e-2}, {"zero_centered": True}]}
rng = np.random.default_rng(0)


def layer(member, x, scale, bias=0.0):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + member.eps) * scale + bias


def rms(member, x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + member.eps) * (scale + member.zero_centered)


PLAIN = {"layer": layer, "rms": rms}


def test_parameters(member):
    shapes = jax.eval_shape(member.module("n").init, jax.random.key(0), jnp.zeros((2, 3, 16), jnp.bfloat16))["params"]
    assert shapes.keys() == {"scale", "bias"} - ({"bias"} if not getattr(member, "bias", False) else set())
    assert all(leaf.shape == (16,) and leaf.dtype == jnp.float32 for leaf in shapes.values())


def test_a_fresh_norm_has_unit_gain_and_no_bias(member):
    module = member.module("n")
    for name, leaf in module.init(jax.random.key(0), jnp.zeros((1, 16)))["params"].items():
        gain = 0 if getattr(member, "zero_centered", False) else 1
        np.testing.assert_array_equal(leaf, np.full(16, gain if name == "scale" else 0))


def test_value_equals_the_formula(member, by_kind):
    module = member.module("n")
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 16)))["params"]
    params = {name: rng.standard_normal(16).astype(np.float32) for name in shapes}
    x = (3 + 0.2 * rng.standard_normal((2, 5, 16))).astype(np.float32)
    run = jax.jit(lambda x: module.apply({"params": params}, x))
    want = by_kind(PLAIN)(member, x.astype(np.float64), **params)
    assert_close(run(x), want, 2e-5)
    low = run(jnp.bfloat16(x))
    assert low.dtype == jnp.bfloat16 and low.shape == x.shape
    assert_close(low.astype(jnp.float32), by_kind(PLAIN)(member, np.float64(jnp.bfloat16(x)), **params), 0.02)
