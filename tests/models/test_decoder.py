"""The decoder: how it is computed does not change it; what it is made of does, and only there."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled
from rarely import rarely

from jaxgpt.models import Decoder

SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 4, "context": 8, "vocab_size": 32}
rng = np.random.default_rng(0)
TOKENS = rng.integers(0, 32, (2, 8), dtype=np.int32)


def decoder(**fields):
    return Decoder.model_validate(SIZE | fields)


@partial(jax.jit, static_argnums=(0, 2))
def logits(spec, params, dtype="float32"):
    return spec.build(dtype=dtype).apply({"params": params}, TOKENS)


def loss_and_gradient(spec, params, **how):
    def loss(p):
        out = spec.build(**how).apply({"params": p}, TOKENS, train=True, rngs={"dropout": jax.random.key(5)})
        return jnp.mean(jnp.sin(out.astype(jnp.float32)))

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.fixture(scope="module")
def unrolled(weights):
    """A stack of two patterns in turn, dropout on."""
    spec = decoder(num_layers=4, dropout=0.2, pattern=["causal", {"kind": "banded", "window": 3}], num_kv_heads=2)
    params = weights(spec)
    return spec, params, loss_and_gradient(spec, params)


@pytest.mark.often("scan-block")
@pytest.mark.parametrize(("loop", "remat"), [rarely("scan", "none"), ("scan", "block"), ("unroll", "dots")])
def test_loops_and_remat_give_the_same_loss_and_gradient(unrolled, loop, remat):
    spec, params, want = unrolled
    got = loss_and_gradient(spec, params, loop=loop, remat=remat)
    assert_close(got, want, scale=cancelled(want[1]))


def start(spec):
    return jax.jit(spec.init)(jax.random.key(7))


@pytest.fixture(scope="module")
def starts():
    return [start(decoder(num_layers=layers, residual_init="plain")) for layers in (2, 3)]


def test_a_deeper_stack_starts_with_the_same_first_layers(starts):
    shallow, deep = starts
    blocks = deep["blocks"]["layers"]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:2]), shallow["blocks"]["layers"], blocks)
    jax.tree.map(np.testing.assert_array_equal, shallow["embed"], deep["embed"])
    weight = np.asarray(blocks["attention"]["q"]["weight"])
    assert not np.array_equal(weight[0], weight[1]), "layers differ from one another"


def test_the_residual_start_shrinks_with_depth(starts):
    """GPT-2, section 2.3: projections into the stream start 1/√(2·layers) smaller; nothing else changes."""
    plain, scaled = starts[0], start(decoder())

    def shrunk(path, leaf):
        if path[-1].key == "weight":
            assert np.std(leaf) == pytest.approx(0.02, rel=0.25)
        into_stream = path[-2].key in ("o", "down") and path[-1].key == "weight"
        return leaf * (0.5 if into_stream else 1.0)

    assert_close(scaled, jax.tree_util.tree_map_with_path(shrunk, plain), 1e-6)


def test_the_first_loss_is_that_of_a_uniform_guess(starts):
    log_p = jax.nn.log_softmax(logits(decoder(), starts[0]))
    assert -float(jnp.mean(log_p)) == pytest.approx(np.log(32), rel=0.015)


def test_grouped_heads_equal_repeated_keys_and_values(weights):
    """A group's keys and values copied to each of its query heads give plain multi-head attention."""
    grouped, full = decoder(num_kv_heads=2), decoder()
    params = weights(grouped)
    repeated = jax.tree.map(np.copy, params)
    for name in "kv":
        held = repeated["blocks"]["layers"]["attention"][name]
        for part, leaf in held.items():
            heads = leaf.reshape(*leaf.shape[:-1], 2, 4)
            held[part] = heads.repeat(2, axis=-2).reshape(*leaf.shape[:-1], 16)
    assert_close(logits(grouped, params), logits(full, repeated))


@pytest.mark.often("qk_norm")
@pytest.mark.parametrize("fields", [{"qk_norm": "rms"}, {"soft_cap": 0.5}], ids=["qk_norm", "soft_cap"])
def test_attention_options_change_the_output_and_keep_gradients_finite(weights, fields):
    spec = decoder(**fields)
    params = weights(spec, std=1.0)
    plain = {**params, "blocks": {"layers": {**params["blocks"]["layers"]}}}
    attention = params["blocks"]["layers"]["attention"]
    plain["blocks"]["layers"]["attention"] = {k: v for k, v in attention.items() if not k.endswith("_norm")}
    assert np.abs(np.subtract(logits(spec, params), logits(decoder(), plain))).max() > 1e-2
    _, grads = loss_and_gradient(spec, params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("fields", [{}, {"norm_place": "post"}, {"tied": False}], ids=str)
def test_bfloat16_stays_near_float32(weights, fields):
    spec = decoder(**fields)
    params = weights(spec)
    low, full = logits(spec, params, dtype="bfloat16"), np.asarray(logits(spec, params))
    assert low.dtype == jnp.bfloat16 and full.dtype == np.float32
    assert np.abs(np.asarray(low, np.float32) - full).max() < 0.05 * np.abs(full).max()


def test_init_allocates_nothing_under_eval_shape():
    assert isinstance(decoder().shapes()["embed"]["token"], jax.ShapeDtypeStruct)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(decoder().shapes()))
    decoder().shapes()["embed"].clear()
    assert decoder().shapes()["embed"], "each call gives a tree of its own"


def test_without_an_output_the_model_ends_with_hidden_states(weights):
    spec = decoder(lm_head=False, tied=False)
    params = weights(spec)
    assert "lm_head" not in params and not spec.continues and not spec.scores_by_table
    module = spec.build()
    hidden = module.apply({"params": params}, TOKENS, method="hidden")
    np.testing.assert_array_equal(module.apply({"params": params}, TOKENS), hidden)
    with pytest.raises(ValueError, match=r"model\.lm_head is off"):
        module.apply({"params": params}, hidden, method="unembed")
