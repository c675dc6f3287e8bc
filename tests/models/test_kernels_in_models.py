"""Kernels compose with what a model has: positions, grouped heads, norms, caps, packing, remat, scan, seeds, meshes."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rarely import mostly

from jaxgpt.models import Decoder
from jaxgpt.ops.attention import BlockSparse, Chunked, Reference

rng = np.random.default_rng(0)
B, T = 8, 20
TOKENS = rng.integers(0, 32, (B, T), dtype=np.int32)
SEGMENTS = np.array([[1] * 7 + [2] * 13] * B, np.int32)
POSITIONS = np.array([[*range(7), *range(13)]] * B, np.int32)
FAST = {"block_sparse": BlockSparse(block=8), "chunked": Chunked(queries=8, keys=4)}
MODELS = {
    "everything": {
        "pattern": ["causal", {"kind": "strided", "stride": 4}],
        "position": {"kind": "rotary_yarn", "factor": 2, "trained": 16, "fast": 2, "slow": 0.5, "pairing": "half"},
        "num_kv_heads": 2,
        "qk_norm": "rms",
        "soft_cap": 5.0,
    },
    "t5, heads apart": {
        "pattern": {
            "kind": "per_head",
            "of": [{"kind": "banded", "window": 5}, {"kind": "dilated", "window": 3, "dilation": 2}],
        },
        "position": {"kind": "t5", "buckets": 8, "max_distance": 16},
    },
}


def decoder(name):
    size = {"num_layers": 2, "d_model": 16, "num_heads": 4, "context": 32, "vocab_size": 32}
    return Decoder.model_validate(size | MODELS[name])


def loss_and_gradient(spec, kernel, loop="unroll", remat="none"):
    def loss(params, tokens):
        module = spec.build(kernel, loop=loop, remat=remat)
        hidden = module.apply({"params": params}, tokens, POSITIONS, SEGMENTS, method="hidden")
        return jnp.mean(jnp.sin(module.apply({"params": params}, hidden, method="unembed")))

    return jax.value_and_grad(loss)


@pytest.fixture(scope="module")
def references(weights):
    """`references(name)`: a model, its parameters, and what the plain kernel makes of them."""

    @cache
    def of(name):
        spec = decoder(name)
        params = weights(spec)
        return spec, params, jax.jit(loss_and_gradient(spec, Reference()))(params, TOKENS)

    return of


@pytest.fixture
def known(request, references):
    return references(request.param)


@pytest.mark.often("t5, heads apart-chunked")
@pytest.mark.parametrize(
    ("known", "kernel"),
    mostly(list(product(MODELS, FAST)), ("everything", "block_sparse"), ("t5, heads apart", "chunked")),
    indirect=["known"],
)
def test_a_fast_kernel_trains_a_packed_model_as_the_plain_one_does(known, kernel):
    """With the layers scanned and everything recomputed, which is where masks and residuals go astray."""
    spec, params, want = known
    got = jax.jit(loss_and_gradient(spec, FAST[kernel], "scan", "block"))(params, TOKENS)
    assert_close(got, want, scale=cancelled(want[1]))


@pytest.mark.parametrize("known", MODELS, indirect=True)
def test_every_parameter_of_a_trained_bias_learns(known):
    spec, _, (_, grads) = known
    table = grads["blocks"].get("bias")
    assert (table is None) == (spec.position.kind != "t5")
    if table is not None:
        used = np.unique(spec.position.bucket(np.arange(5)))
        assert (np.abs(table[:, used[used > 0]]).max(0) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("known", mostly(MODELS, "t5, heads apart"), indirect=True)
def test_rows_and_heads_over_devices_and_seeds_under_vmap_change_nothing(known):
    """One kernel with each model: on these rows a mesh means the same to both."""
    spec, params, want = known
    kernel = "chunked" if spec.position.kind == "t5" else "block_sparse"
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "tensor"))
    columns = NamedSharding(mesh, PartitionSpec(None, None, "tensor"))
    attention = params["blocks"]["layers"]["attention"]
    placed = {
        n: {**held, "weight": jax.device_put(held["weight"], columns)} if n in "qkv" else held
        for n, held in attention.items()
    }
    blocks = params["blocks"]
    spread = {**params, "blocks": {**blocks, "layers": {**blocks["layers"], "attention": placed}}}
    rows = jax.device_put(TOKENS, NamedSharding(mesh, PartitionSpec("data")))
    seeds = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), spread)
    both = jax.jit(jax.vmap(loss_and_gradient(spec, FAST[kernel]), (0, None)))(seeds, rows)
    assert_close(jax.tree.map(lambda x: x[0], both), want, scale=cancelled(want[1]))
