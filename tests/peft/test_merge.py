"""Merged weights compute what the adapter did on top of the base; the way back gives the base; errors are stated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.models import Decoder
from jaxgpt.peft import IA3, Bottleneck, LoRA
from jaxgpt.peft.merge import merge, unmerge
from jaxgpt.spec import ConfigError

EVERYWHERE = ("attention/", "/(up|down)$")
ADAPTERS = {
    "lora": LoRA(targets=EVERYWHERE, rank=2, room=3, rank_pattern={"/o$": 1}, bias=True),
    "a table and an output": LoRA(targets=("embed/token", "lm_head"), rank=2, room=3),
    "dora, one a": LoRA(targets=EVERYWHERE, rank=2, dora=True, fused_qkv=True, bias=True),
    "ia3": IA3(),
}
TOKENS = np.random.default_rng(0).integers(0, 32, (2, 8), dtype=np.int32)
SIZES = {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32}


def model(adapter, **fields):
    return Decoder(**SIZES, **{"tied": False, **fields}, adapter=adapter)


def logits(spec, params):
    return jax.jit(spec.build().apply)({"params": params}, TOKENS)


@pytest.mark.often("lora-dense", "dora, one a-dense")
@pytest.mark.parametrize("feed_forward", ["mlp", {"kind": "moe", "num_experts": 2}], ids=["dense", "experts"])
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_merged_is_the_same_and_comes_apart_again(adapter, feed_forward, weights):
    if feed_forward != "mlp" and isinstance(adapter, IA3):
        adapter = IA3(targets=("experts/down$",), feed_forward=("experts/",))
    spec, bare = model(adapter, feed_forward=feed_forward), model(None, feed_forward=feed_forward)
    params = weights(spec)
    merged = merge(adapter, params)
    assert jax.tree.map(np.shape, merged.params) == jax.tree.map(lambda leaf: leaf.shape, bare.shapes())
    want = logits(spec, params)
    assert np.abs(want - logits(bare, params)).max() > 0.01 * np.abs(want).max(), "the adapter does something"
    assert_close(logits(bare, merged.params), want, 1e-5)
    assert merged.error < 1e-7 and 0 < merged.lost < 1e-5
    assert_close(unmerge(adapter, merged), params, 1e-5)


def test_what_bfloat16_rounds_away_is_stated(weights):
    """A small change is lost in weights that step by 2⁻⁹ of themselves."""
    spec = model(LoRA(rank=2))
    flat = flatten_dict(weights(spec), sep="/")
    small = {path: leaf * (1e-3 if path.endswith("/b") else 1) for path, leaf in flat.items()}
    coarse = {path: leaf if "/adapter/" in path else leaf.astype(jnp.bfloat16) for path, leaf in small.items()}
    merged = merge(spec.adapter, unflatten_dict(coarse, sep="/"))
    assert 2**-10 < merged.error < 2**-8 and merged.lost > 0.3
    assert merged.params["blocks"]["layers"]["attention"]["q"]["weight"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("adapter", "fields", "message"),
    [
        (Bottleneck(), {}, r"^model\.adapter: adapter is no change of weights, so it cannot be merged into them"),
        (LoRA(bias=True), {"bias": False}, r"attention/q/adapter/bias: .*/q has no bias that it could be merged into"),
        (
            LoRA(targets=("embed",)),
            {"tied": True},
            r"^model\.adapter: embed/token may score tokens too, so what is added",
        ),
    ],
)
def test_what_cannot_be_merged_is_refused_in_one_line(adapter, fields, message, weights):
    with pytest.raises(ConfigError, match=message):
        merge(adapter, weights(model(adapter, **fields)))


def test_a_scale_of_zero_cannot_be_undone(weights):
    adapter = IA3()
    params = jax.tree.map(np.zeros_like, weights(model(adapter)))
    with pytest.raises(ConfigError, match=r"k/adapter/scale: is 0 somewhere, which nothing undoes"):
        unmerge(adapter, merge(adapter, params))
