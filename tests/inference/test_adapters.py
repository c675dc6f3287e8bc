"""What trains a small part of others' weights is loaded beside them: the rest is shared, read once and stored once."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from close import assert_close
from flax.traverse_util import flatten_dict

import jaxgpt
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.byte import ByteCodec

IDS = np.random.default_rng(0).integers(0, 257, (2, 7))


def flat(tree):
    return flatten_dict(tree, sep="/")


@pytest.fixture(scope="module")
def trained(adapted):
    """`trained(seed, **fields)`: the folder of a run that trained the biases of `base`, or what else the fields say."""
    return lambda seed=1, **fields: adapted(seed, **({"trainable": ["/bias$"]} | fields))


@pytest.fixture(scope="module")
def two(base, trained):
    return jaxgpt.load(base, adapter={"a": trained(1), "b": trained(2)})


def test_adapters_share_the_arrays_of_the_base(two):
    views = {name: flat(two.with_adapter(name).params) for name in (None, "a", "b")}
    assert two.adapter == "a" and list(two.adapters) == ["a", "b"]
    for path, leaf in views[None].items():
        other = [views[name][path] for name in "ab"]
        assert all(array is leaf for array in other) != path.endswith("/bias"), path
        assert path.endswith("/bias") == (other[0] is not other[1])


def test_switching_back_gives_the_same_and_compiles_once(two):
    from jaxgpt.inference.loaded import _logits

    a, b, none = two, two.with_adapter("b"), two.with_adapter(None)
    assert b.with_adapter("a") is a and a.with_adapter("b") is b and none.with_adapter(None) is none
    before = _logits._cache_size()
    logits = [m.logits(IDS) for m in (a, b)]
    assert _logits._cache_size() - before == 1
    logits.append(none.logits(IDS))
    for m, got in zip((a, b, none), logits, strict=True):
        alone = replace(m, adapter=None, adapters={}, views={})
        np.testing.assert_array_equal(got, alone.logits(IDS))
        assert m.generate(["On"], max_new=4) == alone.generate(["On"], max_new=4)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3 < np.abs(logits[0] - logits[2]).max()


def test_decoding_shares_the_layers_of_the_base(two):
    for m in (two, two.with_adapter(None)):
        m.generate(["On"], max_new=1)
    own, below = (m._unstacked["blocks"]["layers"][1]["attention"]["q"] for m in (two, two.with_adapter(None)))
    assert own["weight"] is below["weight"] and own["bias"] is not below["bias"]


def test_a_run_is_loaded_with_what_it_started_from(base, trained, two):
    alone = jaxgpt.load(trained(1))
    assert alone.adapter == "default" and alone.spec.start == str(base)
    assert_close(jax.tree.map(np.asarray, alone.params), jax.tree.map(np.asarray, two.params), 0)
    assert_close(alone.with_adapter(None).logits(IDS), jaxgpt.load(base).logits(IDS), 0)
    half = jaxgpt.load(base, dtype="bfloat16", adapter=trained(1))
    assert {leaf.dtype for leaf in jax.tree.leaves(half.params)} == {np.dtype("bfloat16")}


def test_what_it_was_not_trained_on_is_one_line(base, trained, weights, tmp_path):
    run = trained(1)
    model = jaxgpt.load(base).model
    write_folder(tmp_path / "other", model, weights(model, 5), ByteCodec())
    deeper = model.evolve(num_layers=3)
    write_folder(tmp_path / "deeper", deeper, weights(deeper), ByteCodec())
    cases = {
        "other": "was trained on other weights than these: SHA-256 ",
        "deeper": r"blocks/layers/attention/k/weight \(and 7 more\) has shape \(3, 16, 16\), expected \(2, 16, 16\)",
    }
    for name, line in cases.items():
        with pytest.raises(ConfigError, match=f"^adapter: .*{line}.*{base.name}$"):
            jaxgpt.load(tmp_path / name, adapter=run)
    for adapter, line in [
        (base, "neither adapter_config.json nor a run's config.yaml"),
        ({}, "expected a path, or paths by names"),
        (3, "not a path"),
    ]:
        with pytest.raises(jaxgpt.spec.JaxgptError, match=line):
            jaxgpt.load(base, adapter=adapter)
    m = jaxgpt.load(base, adapter=run)
    with pytest.raises(ConfigError, match="adapter: no 'defaul'; did you mean 'default'"):
        m.with_adapter("defaul")
    with pytest.raises(ConfigError, match="adapter: no 'a'; there are none"):
        jaxgpt.load(base).with_adapter("a")
    with pytest.raises(ConfigError, match="trained a part of other weights already"):
        jaxgpt.load(run, adapter=run)
