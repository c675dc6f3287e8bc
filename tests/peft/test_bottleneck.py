"""Bottleneck adapters: where they stand, what they start as, how many parameters they have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from flax.traverse_util import flatten_dict, unflatten_dict

import jaxgpt.peft  # noqa: F401  declares its members
from jaxgpt.models import Model
from jaxgpt.spec import parse

GPT2 = {"kind": "gpt2", "num_layers": 12, "d_model": 768, "num_heads": 12, "vocab_size": 50257}
SMALL = {"kind": "gpt2", "num_layers": 2, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32}
BOTH = {f"blocks/layers/adapter/{part}" for part in ("attention", "feed_forward")}


def model(base=SMALL, **adapter):
    return parse(Model, {**base, "adapter": {"kind": "adapter", **adapter}})


def added(tree):
    return {path: leaf for path, leaf in flatten_dict(tree, sep="/").items() if "/adapter/" in path}


@pytest.mark.parametrize(("place", "parts"), [("houlsby", 2), ("pfeiffer", 1)])
def test_sizes_on_gpt2_124m(place, parts):
    inner = 2 * 768 * 64 + 64 + 768
    assert sum(leaf.size for leaf in added(model(GPT2, place=place).shapes()).values()) == 12 * parts * inner


def test_the_start_changes_nothing():
    key, tokens = jax.random.key(1), jnp.arange(16).reshape(2, 8)
    base, spec = parse(Model, SMALL), model(width=3)
    logits = [jax.jit(lambda key, m=m: m.build().apply({"params": m.init(key)}, tokens))(key) for m in (base, spec)]
    np.testing.assert_array_equal(*logits)


def test_both_weights_start_small_as_houlsby_et_al_have_it():
    for path, leaf in added(jax.jit(model(width=8, init_std=1e-3).init)(jax.random.key(0))).items():
        assert np.abs(leaf).max() <= 2e-3 and (np.any(leaf) == path.endswith("weight"))


@pytest.mark.parametrize(("place", "parts"), [("houlsby", BOTH), ("pfeiffer", {"blocks/layers/adapter/feed_forward"})])
def test_they_stand_behind_the_parts_before_the_residual_sum(place, parts, weights):
    """down 0 and up's bias b: each adds b to the residual stream of a pre-norm block, in each layer."""
    spec, tokens = model(width=3, place=place, activation="relu"), jnp.arange(4)[None]
    params = flatten_dict(weights(spec), sep="/")
    assert {path.rsplit("/", 2)[0] for path in added(spec.shapes())} == parts
    shift = np.arange(16, dtype=np.float32)
    for path in added(spec.shapes()):
        params[path] = np.zeros_like(params[path]) + (shift if path.endswith("up/bias") else 0)
    # The parts themselves give nothing, so that only what the adapters add is left.
    for name in ("attention/o", "feed_forward/down"):
        for leaf in ("weight", "bias"):
            params[f"blocks/layers/{name}/{leaf}"] *= 0
    tree = unflatten_dict(params, sep="/")
    states = spec.build().apply({"params": tree}, tokens, method="states")
    embedded = np.asarray(tree["embed"]["token"][:4] + tree["embed"]["position"][:4])[None]
    assert_close(states[0], embedded + len(parts) * shift)
