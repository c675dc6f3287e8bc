"""Weights go out and come back bit for bit; whatever does not fit is named, all at once."""

import jax
import ml_dtypes
import numpy as np
import pytest

from jaxgpt.interop import gpt1, gpt2
from jaxgpt.models import GPT1, GPT2, GPT3
from jaxgpt.spec import ConfigError, JaxgptError

SIZE = {"num_layers": 3, "d_model": 8, "num_heads": 2, "vocab_size": 11, "context": 6}
CASES = [
    pytest.param(gpt1, GPT1(**SIZE), id="gpt1"),
    pytest.param(gpt1, GPT1(**SIZE, tied=False), id="gpt1-untied"),
    pytest.param(gpt2, GPT2(**SIZE), id="gpt2"),
    pytest.param(gpt2, GPT2(**SIZE, tied=False, feed_forward={"kind": "mlp", "d_ff": 12}), id="gpt2-untied"),
    pytest.param(gpt2, GPT3(**SIZE, pattern="causal"), id="gpt3-dense"),
]


def random_tree(model, seed=0):
    """Every leaf differs from every other, biases and gains too."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: draw.normal(size=leaf.shape).astype(np.float32), model.shapes())


@pytest.mark.parametrize(("family", "model"), CASES)
def test_round_trip_is_bit_identical(family, model):
    params = random_tree(model)
    tensors = family.to_hf(params, model)
    back = family.from_hf(tensors, model)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)
    again = family.to_hf(back, model)
    assert list(again) == list(tensors)
    assert all(tensors[name].flags.c_contiguous for name in tensors)


@pytest.mark.parametrize(("family", "model"), CASES)
def test_no_number_is_lost_or_doubled(family, model):
    assert sum(tensor.size for tensor in family.to_hf(random_tree(model), model).values()) == model.count()


def test_queries_keys_and_values_are_one_matrix():
    model = GPT2(**SIZE)
    params = random_tree(model)
    tensors = gpt2.to_hf(params, model)
    attention = params["blocks"]["layers"]["attention"]
    fused = tensors["transformer.h.1.attn.c_attn.weight"]
    np.testing.assert_array_equal(fused, np.concatenate([attention[name]["weight"][1] for name in "qkv"], -1))


@pytest.mark.parametrize(("family", "model"), CASES)
def test_reads_published_forms(family, model):
    """Without the prefix, with mask buffers and a repeated output, and in another floating type."""
    params = random_tree(model)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in family.to_hf(params, model).items()}
    tensors |= {f"h.{i}.attn.bias": np.ones((1, 1, 6, 6), bool) for i in range(3)}
    tensors.setdefault("lm_head.weight", params["embed"]["token"])
    jax.tree.map(np.testing.assert_array_equal, family.from_hf(tensors, model), params)
    halved = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in tensors.items()}
    read = family.from_hf(halved, model)
    assert {leaf.dtype for leaf in jax.tree.leaves(read)} == {np.dtype("float32")}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8), read, params)


def test_result_owns_its_memory():
    model = GPT2(**SIZE)
    tensors = gpt2.to_hf(random_tree(model), model)
    before = tensors["transformer.wte.weight"].copy()
    read = gpt2.from_hf(tensors, model)
    read["embed"]["token"][:] = 0
    np.testing.assert_array_equal(tensors["transformer.wte.weight"], before)


def test_every_problem_is_named_at_once():
    model = GPT2(**SIZE)
    tensors = gpt2.to_hf(random_tree(model), model)
    del tensors["transformer.ln_f.bias"]
    tensors["transformer.h.2.mlp.c_fc.weight"] = np.zeros((8, 31), np.float32)
    tensors["transformer.wpe.weight"] = np.zeros((6, 8), np.int8)
    tensors["transformer.h.3.ln_1.bias"] = np.zeros(8, np.float32)
    tensors["lm_head.weight"] = np.zeros((11, 8), np.float32)
    with pytest.raises(JaxgptError) as caught:
        gpt2.from_hf(tensors, model)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    for name, word in [
        ("ln_f.bias", "missing"),
        ("h.2.mlp.c_fc.weight", "expected (8, 32)"),
        ("wpe.weight", "int8"),
        ("h.3.ln_1.bias", "no place"),
        ("lm_head.weight", "model.tied=false"),
    ]:
        assert sum(line.startswith(f"{name}: ") and word in line for line in lines) == 1, (name, lines)


def test_a_tree_of_another_size_is_refused():
    model = GPT2(**SIZE)
    params = random_tree(model.evolve(d_model=16))
    del params["norm_f"]["bias"]
    with pytest.raises(JaxgptError) as caught:
        gpt2.to_hf(params, model)
    assert "norm_f/bias: missing; the model needs it with shape (8,)" in str(caught.value).splitlines()
    assert "embed/token: shape (11, 16), expected (11, 8)" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"position": "rotary"},
        {"norm": "rms"},
        {"norm": {"kind": "layer", "bias": False}},
        {"norm_place": "post"},
        {"feed_forward": "gated"},
        {"pattern": {"kind": "banded", "window": 2}},
        {"num_kv_heads": 1},
        {"d_head": 6},
        {"qk_norm": "layer"},
        {"soft_cap": 30.0},
        {"bias": False},
        {"vocab_size": None},
    ],
    ids=lambda change: "-".join(change),
)
def test_what_hugging_face_cannot_express_is_refused(change):
    """A mechanism that has no tensor of its own, such as a soft cap, would be lost without a word."""
    model = GPT2(**SIZE | change)
    params = random_tree(GPT2(**SIZE))
    for act in (gpt2.to_hf, gpt2.from_hf):
        with pytest.raises(ConfigError) as caught:
            act(params, model)
        assert [line.split(":")[0] for line in caught.value.problems] == [f"model.{next(iter(change))}"]


def test_spec_from_hf_defaults_are_the_published_models():
    assert gpt2.spec_from_hf({"model_type": "gpt2"}).count() == 124_439_808
    assert gpt1.spec_from_hf({"model_type": "openai-gpt"}).count() == 116_534_784
    assert gpt2.spec_from_hf({"n_embd": 1600, "n_head": 25, "n_layer": 48}).count() == 1_557_611_200


def test_spec_from_hf_reads_every_key():
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": 11,
        "n_positions": 6,
        "n_embd": 8,
        "n_layer": 3,
        "n_head": 2,
        "n_inner": 12,
        "activation_function": "gelu",
        "layer_norm_epsilon": 1e-6,
        "initializer_range": 0.1,
        "tie_word_embeddings": False,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }
    assert gpt2.spec_from_hf(config) == GPT2(
        **SIZE,
        feed_forward={"kind": "mlp", "d_ff": 12, "activation": "gelu"},
        norm={"kind": "layer", "eps": 1e-6},
        init_std=0.1,
        tied=False,
    )


def test_spec_from_hf_names_every_problem():
    config = {
        "model_type": "llama",
        "activation_function": "mish",
        "attn_pdrop": 0.2,
        "scale_attn_by_inverse_layer_idx": True,
    }
    with pytest.raises(ConfigError) as caught:
        gpt2.spec_from_hf(config)
    starts = ["model_type: 'llama'", "activation_function: 'mish'", "resid_pdrop 0.1", "scale_attn_by_inverse"]
    assert len(caught.value.problems) == len(starts)
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)
    with pytest.raises(ConfigError, match="d_model 10 is not a multiple of num_heads 4"):
        gpt2.spec_from_hf({"n_embd": 10, "n_head": 4})
