"""Low-rank adaptation: a no-op at its start, few parameters, and the base as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import jaxgpt.peft  # noqa: F401  declares its members
from jaxgpt.models import Model
from jaxgpt.spec import ConfigError, parse

GPT2 = {"kind": "gpt2", "num_layers": 12, "d_model": 768, "num_heads": 12, "context": 1024, "vocab_size": 50257}
SMALL = {"kind": "gpt2", "num_layers": 2, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32}


def model(base=SMALL, **adapter):
    return parse(Model, {**base, "adapter": {"kind": "lora", **adapter}})


def flat(tree):
    return flatten_dict(tree, sep="/")


def added(spec):
    return {path: leaf for path, leaf in flat(spec.shapes()).items() if "/adapter/" in path}


def test_rank_8_on_queries_and_values_of_gpt2_is_294912_parameters():
    assert sum(leaf.size for leaf in added(model(GPT2)).values()) == 294_912


def test_the_base_starts_as_without_and_gives_the_same():
    bare = parse(Model, SMALL)
    key, tokens = jax.random.key(1), jnp.arange(16).reshape(2, 8)
    before, after = bare.init(key), model(targets=["."]).init(key)
    for path, leaf in flat(before).items():
        np.testing.assert_array_equal(flat(after)[path], leaf, err_msg=path)
    assert not np.any(flat(after)["blocks/layers/attention/q/adapter/b"])
    logits = [
        jax.jit(m.build().apply)({"params": p}, tokens) for m, p in ((bare, before), (model(targets=["."]), after))
    ]
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (
            {"targets": ["attention/[qv]$", "nowhere"]},
            r"^model\.adapter\.targets: no projection is named as 'nowhere' says; there "
            r"are blocks/layers/attention/k, .*/q, .*feed_forward/up",
        )
    ],
)
def test_what_names_nothing_is_refused_in_one_line(adapter, message):
    with pytest.raises(ConfigError, match=message):
        model(**adapter).shapes()
