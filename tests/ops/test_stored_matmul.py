"""Products with stored weights: the array is made within the product, forward and backward, and never kept."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.matmul import project
from jaxgpt.ops.nf4_weight import NF4Weight

L, D, N = 6, 128, 4
rng = np.random.default_rng(0)
STORED = jax.jit(jax.vmap(partial(NF4Weight.of, double=True)))(rng.standard_normal((L, D, D), np.float32) / 8)
X = rng.standard_normal((N, 2, D)).astype(np.float32)
BIAS = rng.standard_normal((L, D)).astype(np.float32)


def unrolled(bias_LD, weights, x):
    for i in range(L):
        x = jnp.tanh(project(x, jax.tree.map(lambda a, i=i: a[i], weights)) + bias_LD[i])
    return x.sum()


def scanned(bias_LD, weights, x, remat=lambda layer: layer):
    def layer(x, of_layer):
        weight, bias_D = of_layer
        return jnp.tanh(project(x, weight) + bias_D), None

    return jax.lax.scan(remat(layer), x, (weights, bias_LD))[0].sum()


LOOPS = {
    "unrolled": unrolled,
    "scanned": scanned,
    "recomputed": partial(scanned, remat=partial(jax.checkpoint, prevent_cse=False)),
}


@pytest.fixture(scope="module")
def arrays():
    """Value and gradients by bias and input with arrays in place of the stored weights."""
    dense = STORED.astype(jnp.float32)
    return jax.jit(jax.value_and_grad(lambda bias, x: unrolled(bias, dense, x), (0, 1)))(BIAS, X)


@pytest.mark.parametrize("name", LOOPS)
def test_as_with_arrays_but_in_less_memory(name, arrays):
    compiled = jax.jit(jax.value_and_grad(LOOPS[name], (0, 2))).lower(BIAS, STORED, X).compile()
    assert_close(compiled(BIAS, STORED, X), arrays)
    assert compiled.memory_analysis().temp_size_in_bytes < 3 * D * D * 4  # of L arrays, and as many for the way back


def test_a_loop_around_makes_no_array_before_it():
    def descend(bias_LD, weights, x):
        return jax.lax.fori_loop(0, 3, lambda i, bias: bias - jax.grad(unrolled)(bias, weights, x), bias_LD)

    memory = jax.jit(descend).lower(BIAS, STORED, X).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 3 * D * D * 4


def test_lanes_share_the_array(arrays):
    lanes = jax.jit(jax.vmap(jax.value_and_grad(unrolled, (0, 2)), (0, None, 0)))
    compiled = lanes.lower(np.stack([BIAS] * 8), STORED, np.stack([X] * 8)).compile()
    one_lane = jax.tree.map(lambda leaf: leaf[5], compiled(np.stack([BIAS] * 8), STORED, np.stack([X] * 8)))
    assert_close(one_lane, arrays)
    assert compiled.memory_analysis().temp_size_in_bytes < 8 * D * D * 4  # one layer's for each


def test_weights_get_no_gradient():
    grads = jax.grad(lambda weight: project(X, weight).sum(), allow_int=True)(jax.tree.map(lambda a: a[0], STORED))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads) if leaf.dtype == np.float32)


def test_computed_in_bfloat16():
    weight = jax.tree.map(lambda a: a[0], STORED)
    got = project(jnp.bfloat16(X), weight)
    assert got.dtype == jnp.bfloat16
    assert_close(got, X @ np.asarray(weight.astype(jnp.float32)), 0.02)
