"""Weights go out and come back bit for bit; whatever does not fit is named, all at once."""

import re

import jax
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxgpt.interop.families import bloom, gemma2, gpt1, gpt2, gpt_neo, gpt_neox, gptj, llama, mistral, qwen2, qwen3
from jaxgpt.interop.name_map import ALIGNMENT
from jaxgpt.interop.tensors import Tensor, in_memory
from jaxgpt.models import BLOOM, GPT1, GPT2, GPT3, GPTJ, Gemma2, GPTNeo, GPTNeoX, Llama, Mistral, Qwen2, Qwen3
from jaxgpt.spec import ConfigError, JaxgptError

SIZE = {"num_layers": 3, "d_model": 8, "num_heads": 2, "vocab_size": 11, "context": 6}
TURN = {"kind": "rotary", "pairing": "half", "width": 2}
INNER = {"kind": "gated", "d_ff": 12}
CASES = {
    "gpt1": (gpt1, GPT1(**SIZE)),
    "gpt1-untied": (gpt1, GPT1(**SIZE, tied=False)),
    "gpt2": (gpt2, GPT2(**SIZE)),
    "gpt2-untied": (gpt2, GPT2(**SIZE, tied=False, feed_forward={"kind": "mlp", "d_ff": 12})),
    "gpt3-dense": (gpt2, GPT3(**SIZE, pattern="causal")),
    "gpt_neo": (gpt_neo, GPTNeo(**SIZE, pattern=["causal", {"kind": "banded", "window": 3}, "causal"])),
    "gptj": (gptj, GPTJ(**SIZE, position={"kind": "rotary", "width": 2})),
    "gpt_neox": (gpt_neox, GPTNeoX(**SIZE, position=TURN)),
    "gpt_neox-sequential": (gpt_neox, GPTNeoX(**SIZE, residual="sequential", tied=True, qkv_bias=False, o_bias=False)),
    "llama": (llama, Llama(**SIZE, num_kv_heads=1, feed_forward=INNER)),
    "llama-biased": (llama, Llama(**SIZE, bias=True, tied=True, d_head=6, feed_forward=INNER)),
    "llama-interleaved": (llama, Llama(**SIZE, num_kv_heads=1, bias=True, feed_forward=INNER, position="rotary")),
    "mistral": (mistral, Mistral(**SIZE, num_kv_heads=1, pattern={"kind": "banded", "window": 3})),
    "qwen2": (qwen2, Qwen2(**SIZE, num_kv_heads=1, pattern=["causal", {"kind": "banded", "window": 3}, "causal"])),
    "qwen3": (qwen3, Qwen3(**SIZE, d_head=6)),
    "qwen3-interleaved": (qwen3, Qwen3(**SIZE, d_head=6, position="rotary")),
    "gemma2": (gemma2, Gemma2(**SIZE, pattern=[{"kind": "banded", "window": 3}, "causal"], embed_scale=8**0.5)),
    "bloom": (bloom, BLOOM(**SIZE)),
}


@pytest.fixture(params=CASES)
def case(request):
    module, model = CASES[request.param]
    return module.FAMILY, model


def random_tree(model, seed=0):
    """Every leaf differs from every other, biases and gains too."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: draw.normal(size=leaf.shape).astype(np.float32), model.shapes())


def test_round_trip_is_bit_identical(case):
    family, model = case
    params = random_tree(model)
    tensors = family.write(params, model)
    back = family.read(tensors, model)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)
    again = family.write(back, model)
    assert list(again) == list(tensors)
    assert all(tensors[name].flags.c_contiguous for name in tensors)


def test_no_number_is_lost_or_doubled(case):
    family, model = case
    assert sum(tensor.size for tensor in family.write(random_tree(model), model).values()) == model.count()


def test_queries_keys_and_values_are_one_matrix():
    model = GPT2(**SIZE)
    params = random_tree(model)
    tensors = gpt2.FAMILY.write(params, model)
    attention = params["blocks"]["layers"]["attention"]
    fused = tensors["transformer.h.1.attn.c_attn.weight"]
    np.testing.assert_array_equal(fused, np.concatenate([attention[name]["weight"][1] for name in "qkv"], -1))


def test_reads_published_forms(case):
    """Without the prefix, with mask buffers and a repeated output, and in another floating type."""
    family, model = case
    params, names = random_tree(model), family.names(model)
    tensors = {name.removeprefix(names.prefix): tensor for name, tensor in family.write(params, model).items()}
    for buffer in ("h.{i}.attn.bias", "h.{i}.attn.attention.masked_bias", "layers.{i}.attention.rotary_emb.inv_freq"):
        if re.fullmatch(names.buffers, buffer.format(i=0)):
            tensors |= {buffer.format(i=i): np.ones((1, 1, 6, 6), bool) for i in range(3)}
    for copy in names.copies:
        tensors.setdefault(copy, params["embed"]["token"])
    jax.tree.map(np.testing.assert_array_equal, family.read(tensors, model), params)
    halved = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in tensors.items()}
    read = family.read(halved, model)
    assert {leaf.dtype for leaf in jax.tree.leaves(read)} == {np.dtype("float32")}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8), read, params)


def test_leaves_are_filled_one_by_one_in_the_dtype_asked_for(case):
    """When a leaf is handed over no other tensor has been read, and nothing of it is kept."""
    family, model = case
    params = random_tree(model)
    reads, given = [], {}

    def watched(name, tensor):
        return tensor._replace(read=lambda: reads.append(name) or tensor.read())

    def put(path, leaf):
        assert leaf.ctypes.data % ALIGNMENT == 0 and leaf.flags.c_contiguous and leaf.dtype == ml_dtypes.bfloat16
        given[path] = (len(reads), leaf.copy())
        leaf[...] = 0
        return path

    tensors = {name: watched(name, tensor) for name, tensor in in_memory(family.write(params, model)).items()}
    tree = family.read(tensors, model, "bfloat16", put)
    flat = flatten_dict(tree, sep="/")
    assert flat == {path: path for path in flat}, "what `put` gives stands in the tree"
    ours = flatten_dict(params, sep="/")
    assert given.keys() == ours.keys()
    before = 0
    for path, (seen, leaf) in given.items():
        np.testing.assert_array_equal(leaf, ours[path].astype(ml_dtypes.bfloat16))
        assert seen - before == (3 if path.startswith("blocks") else 1), "one tensor a layer"
        before = seen


def test_nothing_is_read_of_a_checkpoint_that_does_not_fit():
    model = Llama(**SIZE)

    def refuse():
        raise AssertionError("read")

    tensors = in_memory(llama.FAMILY.write(random_tree(model), model))
    tensors = {name: Tensor(tensor.shape, tensor.dtype, refuse) for name, tensor in tensors.items()}
    del tensors["model.norm.weight"]
    with pytest.raises(JaxgptError, match=r"^norm.weight: missing; the model needs it with shape \(8,\)$"):
        llama.FAMILY.read(tensors, model)


@pytest.mark.parametrize(("module", "model"), [CASES["gpt_neox"], CASES["bloom"]], ids=["gpt_neox", "bloom"])
def test_a_heads_query_key_and_value_lie_side_by_side(module, model):
    params = random_tree(model)
    tensors = module.FAMILY.write(params, model)
    attention = params["blocks"]["layers"]["attention"]
    for kind in ("weight", "bias"):
        (fused,) = [tensor for name, tensor in tensors.items() if re.search(rf"\.1\..*query_key_value\.{kind}", name)]
        for i, (head, name) in enumerate((head, name) for head in range(2) for name in "qkv"):
            own = attention[name][kind][1][..., 4 * head :][..., :4]
            np.testing.assert_array_equal(fused[4 * i :][:4], own.T)


def test_interleaved_pairs_are_written_a_half_head_apart():
    _, model = CASES["llama-interleaved"]
    params = random_tree(model)
    tensors = llama.FAMILY.write(params, model)
    attention = params["blocks"]["layers"]["attention"]
    for name, heads in (("q", 2), ("k", 1)):
        for kind in ("weight", "bias"):
            theirs = tensors[f"model.layers.2.self_attn.{name}_proj.{kind}"]
            for head in range(heads):
                ours = attention[name][kind][2].T[4 * head :][:4]
                np.testing.assert_array_equal(theirs[4 * head :][:4], ours[[0, 2, 1, 3]])


def test_result_owns_its_memory():
    model = GPT2(**SIZE)
    tensors = gpt2.FAMILY.write(random_tree(model), model)
    before = tensors["transformer.wte.weight"].copy()
    read = gpt2.FAMILY.read(tensors, model)
    read["embed"]["token"][:] = 0
    np.testing.assert_array_equal(tensors["transformer.wte.weight"], before)


def test_every_problem_is_named_at_once():
    model = GPT2(**SIZE)
    tensors = gpt2.FAMILY.write(random_tree(model), model)
    del tensors["transformer.ln_f.bias"]
    tensors["transformer.h.2.mlp.c_fc.weight"] = np.zeros((8, 31), np.float32)
    tensors["transformer.wpe.weight"] = np.zeros((6, 8), np.int8)
    tensors["transformer.h.3.ln_1.bias"] = np.zeros(8, np.float32)
    tensors["lm_head.weight"] = np.zeros((11, 8), np.float32)
    tensors["ln_f.weight"] = tensors["transformer.ln_f.weight"]
    with pytest.raises(JaxgptError) as caught:
        gpt2.FAMILY.read(tensors, model)
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    for name, word in [
        ("ln_f.bias", "missing"),
        ("ln_f.weight", "2 times"),
        ("h.2.mlp.c_fc.weight", "expected (8, 32)"),
        ("wpe.weight", "int8"),
        ("h.3.ln_1.bias", "no place"),
        ("lm_head.weight", "tie_word_embeddings says that they are one"),
    ]:
        assert sum(line.startswith(f"{name}: ") and word in line for line in lines) == 1, (name, lines)


def test_a_tree_of_another_size_is_refused():
    model = GPT2(**SIZE)
    params = random_tree(model.evolve(d_model=16))
    del params["norm_final"]["bias"]
    with pytest.raises(JaxgptError) as caught:
        gpt2.FAMILY.write(params, model)
    assert "norm_final/bias: missing; the model needs it with shape (8,)" in str(caught.value).splitlines()
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
    for act in (gpt2.FAMILY.write, gpt2.FAMILY.read):
        with pytest.raises(ConfigError) as caught:
            act(params, model)
        assert [line.split(":")[0] for line in caught.value.problems] == [f"model.{next(iter(change))}"]


def test_spec_from_hf_defaults_are_the_published_models():
    assert gpt2.FAMILY.spec({"model_type": "gpt2"}).count() == 124_439_808
    assert gpt1.FAMILY.spec({"model_type": "openai-gpt"}).count() == 116_534_784
    assert gpt2.FAMILY.spec({"n_embd": 1600, "n_head": 25, "n_layer": 48}).count() == 1_557_611_200


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
    assert gpt2.FAMILY.spec(config) == GPT2(
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
        gpt2.FAMILY.spec(config)
    starts = ["model_type: 'llama'", "scale_attn_by_inverse", "resid_pdrop 0.1", "activation_function: 'mish'"]
    assert len(caught.value.problems) == len(starts)
    for line, start in zip(caught.value.problems, starts, strict=True):
        assert line.startswith(start)
    with pytest.raises(ConfigError, match=r"^n_embd: 10 is not a multiple of n_head 4$"):
        gpt2.FAMILY.spec({"n_embd": 10, "n_head": 4})
