"""Runs whose frozen weights are stored in few bits: alone, as lanes, on a mesh, in use; and in how many bytes."""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt import run
from jaxgpt.inference.load import load
from jaxgpt.ops.nf4_weight import NF4Weight
from jaxgpt.ops.stored import as_arrays, is_stored
from jaxgpt.seal import read_result
from jaxgpt.spec import ConfigError
from jaxgpt.train.fused.loop import run_fused
from jaxgpt.train.program import hyper, program
from jaxgpt.train.summary import summarize

pytestmark = pytest.mark.usefixtures("one_device")

D = 64


@pytest.fixture(scope="module")
def some(upon):
    """`some(**overrides)`: a run that trains LoRA on a finished one in NF4; `some.base` is the latter's folder."""
    wide = {"model.d_model": D, "model.num_layers": 2}
    adapter = {"kind": "lora", "rank": 2}
    return upon(wide | {"steps": 1}, wide | {"model.adapter": adapter, "storage": "nf4", "steps": 3})


def stored_leaves(params):
    return [leaf for leaf in jax.tree.leaves(params, is_leaf=is_stored) if is_stored(leaf)]


def test_a_run_in_use_is_what_was_trained(some, whole):
    ours, base = load(whole), load(some.base)
    assert len(stored_leaves(ours.params)) == 6
    before = base.params["blocks"]["layers"]["feed_forward"]["up"]["weight"]
    stored = ours.params["blocks"]["layers"]["feed_forward"]["up"]["weight"]
    want = jax.vmap(lambda w: NF4Weight.of(w, True))(before)
    for a, b in zip(jax.tree.leaves(stored), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)
    tokens = np.arange(8)[None]
    arrays = jax.jit(ours.model.build().apply)({"params": as_arrays(ours.params)}, tokens)
    assert_close(ours.logits(tokens), arrays)
    assert ours.generate("a", max_new=2)
    beside = load(some.base, adapter={"four": whole})  # on a base that is whole: the adapter brings what it stands on
    np.testing.assert_array_equal(beside.logits(tokens), ours.logits(tokens))


@pytest.mark.slow
def test_lanes(some, whole, tmp_path):
    outs = [tmp_path / "a", tmp_path / "b"]
    results = run_fused([some(), some(seed=4)], outs, quiet=True)
    assert_close(results[0]["train/loss"], read_result(whole)["train/loss"], 1e-4)


def test_goes_on(some, whole, tmp_path):
    run(some(steps=1), tmp_path / "run", quiet=True)
    result = run(some(start=str(tmp_path / "run"), steps=1), tmp_path / "next", quiet=True)
    assert result["status"] == "finished"
    for a, b in zip(stored_leaves(load(tmp_path / "next").params), stored_leaves(load(whole).params), strict=True):
        np.testing.assert_array_equal(a.codes, b.codes)


@pytest.mark.slow
@pytest.mark.often("storage1")
@pytest.mark.parametrize("storage", ["bfloat16", {"kind": "nf4", "double": False}])
def test_others(some, tmp_path, storage):
    run(some(storage=storage, **{"exec.layers": "scan"}), tmp_path / "run", quiet=True)
    assert load(tmp_path / "run").logits(np.arange(8)[None]).shape == (1, 8, 257)


def test_bytes(some):
    """What a step is given, by the compiler's own count, and no room for the model as arrays besides."""
    layers = 4
    sizes = {}
    for storage in ("bfloat16", "nf4"):
        spec = some(storage=storage, **{"model.num_layers": layers, "model.vocab_size": 257})
        compiled = program(spec)
        batch = {name: jax.ShapeDtypeStruct(*array) for name, array in spec.batch_shapes().items()}
        step = compiled.step.lower(compiled.state, batch, jax.random.key(0), hyper(spec)).compile()
        sizes[storage] = step.memory_analysis().argument_size_in_bytes, step.memory_analysis().temp_size_in_bytes
        stored = stored_leaves(compiled.state.frozen)
        own = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(stored))
        facts = summarize(spec)
        assert facts["memory_params_bytes"] == sum(
            leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(compiled.state.model_params)
        )
        sizes[storage] += (own,)
    numbers = layers * 12 * D * D
    assert sizes["bfloat16"][2] == 2 * numbers
    saved = sizes["bfloat16"][0] - sizes["nf4"][0]
    assert abs(saved - (sizes["bfloat16"][2] - sizes["nf4"][2])) < 1000, "arguments are what is stored, and no more"
    assert sizes["nf4"][2] <= 0.30 * sizes["bfloat16"][2]
    assert sizes["nf4"][1] < sizes["bfloat16"][1] + numbers


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.adapter": None, "start": None}, r"^storage: nf4 is for what is not trained, and all is; name what"),
        ({"storage.leaves": ["attention/z"]}, r"^storage\.leaves: no frozen parameter is named as 'attention/z' says"),
        ({"storage.leaves": ["embed/token$"]}, r"^storage\.leaves: embed/token is no projection's weight"),
    ],
    ids=["nothing frozen", "no such weight", "no projection"],
)
def test_what_cannot_be_is_refused_in_one_line(some, overrides, message):
    with pytest.raises(ConfigError, match=message):
        summarize(some(**overrides))
