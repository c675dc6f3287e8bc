"""Every feed-forward layer maps each token alone, equals its formula and starts small where it joins the stream."""

import jax
import jax.numpy as jnp
import numpy as np
from close import assert_close

from jaxgpt.nn.feed_forward import MLP, Gated
from jaxgpt.nn.linear import Linears

SEAM = "feed_forward"
EXAMPLES = {
    "mlp": [{}, {"d_ff": 24, "activation": "relu"}],
    "gated": [{}, {"d_ff": 24, "activation": "relu"}],
    "moe": [  # with room for all: a token that is dropped is none of the layer's
        {"num_experts": 2, "capacity_factor": 2.0},
        {"top_k": 2, "normalize": True, "capacity_factor": None, "expert": {"kind": "gated", "d_ff": 24}},
    ],
}
D = 12
LINEARS = Linears(jnp.float32, std=0.3, residual_std=0.01, bias=True)
rng = np.random.default_rng(0)


def made(member, linears=LINEARS):
    module = member.module(linears, "ff")
    return module, jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 1, D)))["params"]


def draw(shapes):
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), shapes)


def test_shape_dtype_and_tokens_apart(member):
    module, shapes = made(member)
    x = rng.standard_normal((2, 3, D)).astype(np.float32)
    run = jax.jit(lambda p, x: module.apply({"params": p}, x))
    params = draw(shapes)
    y = np.asarray(run(params, x))
    assert y.shape == x.shape and y.dtype == np.float32
    x[1, 2] += 1
    changed = np.asarray(run(params, x)) != y
    assert changed[1, 2].all() and changed.sum() == D
    low = member.module(LINEARS._replace(dtype=jnp.bfloat16), "ff")
    assert jax.eval_shape(low.apply, {"params": shapes}, jnp.zeros((2, 3, D), jnp.bfloat16)).dtype == jnp.bfloat16


def test_no_bias_means_no_bias(member):
    _, shapes = made(member, LINEARS._replace(bias=False))
    assert not any("bias" in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(shapes)[0])


def test_what_writes_to_the_residual_stream_starts_small(member):
    module, _ = made(member)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 1, D)))["params"]
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        *_, name, kind = (part.key for part in path)
        low, high = (0, 0) if kind == "bias" else (0.008, 0.012) if name == "down" else (0.25, 0.35)
        assert low <= float(np.std(leaf)) <= high and (kind != "bias" or not np.any(leaf)), path


def affine(params, name, x):
    return x @ params[name]["weight"].astype(np.float64) + params[name]["bias"]


def test_mlp_is_its_formula(member: MLP):
    module, shapes = made(member)
    params, x = draw(shapes), rng.standard_normal((1, 4, D)).astype(np.float32)
    inner = np.asarray(member.activation(affine(params, "up", x)))
    assert shapes["up"]["weight"].shape == (D, member.d_ff or 4 * D)
    assert_close(module.apply({"params": params}, x), affine(params, "down", inner))


def test_gated_is_its_formula(member: Gated):
    module, shapes = made(member)
    params, x = draw(shapes), rng.standard_normal((1, 4, D)).astype(np.float32)
    inner = np.asarray(member.activation(affine(params, "gate", x))) * affine(params, "up", x)
    assert shapes["gate"]["weight"].shape == shapes["up"]["weight"].shape == (D, member.d_ff or 8 * D // 3)
    assert_close(module.apply({"params": params}, x), affine(params, "down", inner))


def test_gated_has_as_many_weights_as_an_mlp():
    linears = LINEARS._replace(bias=False)
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(made(kind(), linears)[1])) for kind in (MLP, Gated)]
    assert sizes[0] == sizes[1]
