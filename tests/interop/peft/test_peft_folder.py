"""Adapters go out as PEFT folders and come back: names, shapes and keys as PEFT has them, no output changed."""

import json
import re

import jax
import numpy as np
import pytest
from close import assert_close
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.interop.peft.config import CONFIG, WEIGHTS
from jaxgpt.interop.peft.read import read_adapter
from jaxgpt.interop.peft.write import write_adapter
from jaxgpt.interop.safetensors import read_tensors, write_file
from jaxgpt.models import BERT, GPT2, GPTNeoX, Llama
from jaxgpt.spec import ConfigError, JaxgptError

SIZE = {"num_layers": 2, "d_model": 8, "num_heads": 2, "vocab_size": 11, "context": 12}
GPT, BIDIRECTIONAL = GPT2(**SIZE), BERT(**SIZE)
LLAMA = Llama(**SIZE, num_kv_heads=1, feed_forward={"kind": "gated", "d_ff": 12})
TURNED = LLAMA.evolve(position="rotary")
NEOX = GPTNeoX(**SIZE, position={"kind": "rotary", "pairing": "half", "width": 2})
TASK = {"kind": "task", "labels": ["no", "yes", "maybe"], "dropout": 0.0, "bias": False}
LORA = {"kind": "lora", "rank": 2}
FUSED = LORA | {"fused_qkv": True, "targets": ["attention/[qkv]$"]}
IDS = np.arange(12, dtype=np.int32).reshape(2, 6) % 11
CASES = {
    "gpt2-fused": (GPT, FUSED),
    "gpt2-fused-dora": (GPT, FUSED | {"dora": True, "targets": ["blocks/"], "rank_pattern": {"down$": 3}}),
    "gpt2-bias": (GPT, FUSED | {"bias": True, "rslora": True, "alpha_pattern": {"attention/q$": 3}}),
    "llama": (LLAMA, LORA | {"targets": ["attention/[qv]$", "down$"], "alpha": 3.0}),
    "llama-pairs-moved": (TURNED, LORA | {"targets": ["attention/", "lm_head"], "dora": True, "room": 5}),
    "neox-heads-in-turn": (NEOX, FUSED | {"bias": True, "targets": ["attention/"]}),
    "llama-table": (LLAMA, LORA | {"targets": ["embed/token", "attention/q$"], "rank_pattern": {"token": 3}}),
    "bert": (BIDIRECTIONAL, LORA | {"targets": ["attention/[qv]$", "attention/o$", "lm_head/dense"]}),
    "gpt2-ia3": (GPT, {"kind": "ia3", "targets": ["attention/[qkv]$", "down$"]}),
    "llama-ia3": (TURNED, {"kind": "ia3"}),
    "gpt2-prefix": (GPT, {"kind": "prefix", "tokens": 3}),
    "llama-prefix": (LLAMA, {"kind": "prefix", "tokens": 3, "mlp": 4}),
    "bert-prompt": (BIDIRECTIONAL, {"kind": "prompt", "tokens": 3}),
}
COMPUTED = ("gpt2-fused-dora", "gpt2-bias", "llama-pairs-moved", "llama-prefix")
"""Whose adapter comes back otherwise than it went out, or by numbers of the configuration."""
LORA_KEYS = {
    "r",
    "lora_alpha",
    "rank_pattern",
    "alpha_pattern",
    "target_modules",
    "use_rslora",
    "use_dora",
    "lora_bias",
}


def flat(tree):
    return {path: np.asarray(leaf) for path, leaf in flatten_dict(tree, sep="/").items()}


def own(params):
    return {path: leaf for path, leaf in flat(params).items() if "/adapter/" in path}


def below(params):
    return {path: leaf for path, leaf in flat(params).items() if "/adapter/" not in path}


def logits(model, params):
    return jax.jit(model.build().apply)({"params": params}, IDS)


def written(folder, model, params, **more):
    """The folder's configuration and tensors, and what was said of it."""
    notes = write_adapter(folder, model, params, below(params) | more, "base")
    tensors = {name: tensor.read() for name, tensor in read_tensors(folder / WEIGHTS).items()}
    return json.loads((folder / CONFIG).read_text()), tensors, notes


def read(folder, model, params):
    base = below(params)
    adapted, leaves = read_adapter(folder, model.evolve(adapter=None), base.__getitem__)
    paths = flatten_dict(adapted.shapes(), sep="/")
    return adapted, unflatten_dict({path: leaves[path] if path in leaves else base[path] for path in paths}, sep="/")


@pytest.mark.often(
    "gpt2-fused-dora", "llama-pairs-moved", "neox-heads-in-turn", "bert]", "llama-ia3", "llama-prefix", "bert-prompt"
)
@pytest.mark.parametrize("name", CASES)
def test_what_goes_out_comes_back(name, weights, tmp_path):
    model, adapter = CASES[name]
    model = model.evolve(adapter=adapter)
    params = weights(model)
    _, tensors, notes = written(tmp_path / "a", model, params)
    assert not notes and all(array.dtype == np.float32 for array in tensors.values())
    adapted, back = read(tmp_path / "a", model, params)
    finished, params = model.adapter.finished(params)
    wanted, got = own(params), own(back)
    assert wanted.keys() == got.keys() and type(adapted.adapter) is type(finished)
    for path, leaf in wanted.items():
        part = tuple(slice(size) for size in got[path].shape)  # of what has room for more, the rows in use
        np.testing.assert_array_equal(got[path], leaf[part], err_msg=path)
    if name in COMPUTED:
        assert_close(logits(adapted, back), logits(model.evolve(adapter=finished), params), 1e-6)


def test_names_shapes_and_keys_are_pefts(weights, tmp_path):
    model = GPT.evolve(adapter=FUSED | {"targets": ["attention/", "down$"], "rank_pattern": {"down$": 3}, "dora": True})
    config, tensors, _ = written(tmp_path / "a", model, weights(model))
    layer = "base_model.model.transformer.h.1"
    assert {name: array.shape for name, array in tensors.items() if name.startswith(layer)} == {
        f"{layer}.attn.c_attn.lora_A.weight": (2, 8),
        f"{layer}.attn.c_attn.lora_B.weight": (24, 2),
        f"{layer}.attn.c_attn.lora_magnitude_vector": (24,),
        f"{layer}.attn.c_proj.lora_A.weight": (2, 8),
        f"{layer}.attn.c_proj.lora_B.weight": (8, 2),
        f"{layer}.attn.c_proj.lora_magnitude_vector": (8,),
        f"{layer}.mlp.c_proj.lora_A.weight": (3, 32),
        f"{layer}.mlp.c_proj.lora_B.weight": (8, 3),
        f"{layer}.mlp.c_proj.lora_magnitude_vector": (8,),
    }
    assert {key: config[key] for key in sorted(LORA_KEYS)} == {
        "r": 2,
        "lora_alpha": 16,
        "rank_pattern": {r"h\.\d+\.mlp\.c_proj": 3},
        "alpha_pattern": {},
        "target_modules": ["c_attn", "c_proj"],
        "use_rslora": False,
        "use_dora": True,
        "lora_bias": False,
    }
    assert (
        config["task_type"] == "CAUSAL_LM" and config["fan_in_fan_out"] and config["base_model_name_or_path"] == "base"
    )
    assert config["bias"] == "none" and config["modules_to_save"] is None


def test_other_methods_names(weights, tmp_path):
    shapes = {}
    for name in ("gpt2-ia3", "llama-ia3", "llama-prefix", "bert-prompt"):
        model, adapter = CASES[name]
        model = model.evolve(adapter=adapter)
        config, tensors, _ = written(tmp_path / name, model, weights(model))
        shapes |= {key.removeprefix("base_model.model."): array.shape for key, array in tensors.items()}
        shapes |= {name: (config["peft_type"], config.get("feedforward_modules"), config.get("num_attention_heads"))}
    assert {key: shape for key, shape in shapes.items() if ".0." not in key} == {
        "transformer.h.1.attn.c_attn.ia3_l": (24, 1),
        "transformer.h.1.mlp.c_proj.ia3_l": (1, 32),
        "model.layers.1.self_attn.k_proj.ia3_l": (4, 1),
        "model.layers.1.self_attn.v_proj.ia3_l": (4, 1),
        "model.layers.1.mlp.down_proj.ia3_l": (1, 12),
        "prompt_embeddings": (3, 8),  # of the prompt; that of the prefix, (3, 2·2·4), has the same name
        "gpt2-ia3": ("IA3", ["mlp.c_proj"], None),
        "llama-ia3": ("IA3", ["down_proj"], None),
        "llama-prefix": ("PREFIX_TUNING", None, 1),
        "bert-prompt": ("PROMPT_TUNING", None, 2),
    }


@pytest.mark.often("more1")
@pytest.mark.parametrize("more", [{}, {"dora": True}, {"bias": True, "rslora": True}])
def test_an_a_for_each_of_query_and_value_becomes_one_for_all(more, weights, tmp_path):
    patterns = {"rank_pattern": {"attention/v$": 3}, "alpha_pattern": {"attention/v$": 5}}
    model = GPT.evolve(adapter=LORA | patterns | more)
    params = weights(model)
    config, tensors, notes = written(tmp_path / "a", model, params)
    (line,) = notes
    assert "no output changes" in line and config["r"] == 5
    assert tensors["base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"].shape == (5, 8)
    b = tensors["base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"]
    assert not b[:8, 2:].any() and not b[8:16].any() and not b[16:, :2].any()
    adapted, back = read(tmp_path / "a", model, params)
    assert adapted.adapter.fused_qkv
    assert_close(logits(adapted, back), logits(model, params), 2e-6)


def test_layers_without_an_adapter_and_lower_ranks_are_filled_up(weights, tmp_path):
    """As PEFT writes layers_to_transform, rank_pattern and alpha_pattern by layer: outputs are those of each layer's
    own rank and scale."""
    model = GPT.evolve(adapter=FUSED | {"rank": 4, "alpha": 8.0, "targets": ["attention/", "up$"]})
    params = weights(model)
    config, tensors, _ = written(tmp_path / "a", model, params)
    tensors = {name: array for name, array in tensors.items() if "h.0.mlp" not in name}
    for part, cut in {"lora_A": np.s_[:2], "lora_B": np.s_[:, :2]}.items():
        name = f"base_model.model.transformer.h.1.attn.c_attn.{part}.weight"
        tensors[name] = np.ascontiguousarray(tensors[name][cut])
    config["target_modules"] = r".*(\.attn\..*|1\.mlp\.c_fc)"
    config |= {"rank_pattern": {r"h\.1\.attn\.c_attn": 2}, "alpha_pattern": {r"1\.attn\.c_attn": 6, "c_fc": 2}}
    write_file(tmp_path / "a" / WEIGHTS, tensors)
    (tmp_path / "a" / CONFIG).write_text(json.dumps(config))
    adapted, back = read(tmp_path / "a", model, params)
    want = flat(params)
    want["blocks/layers/feed_forward/up/adapter/b"][0] = 0
    for part in "qkv":
        b = want[f"blocks/layers/attention/{part}/adapter/b"]
        b[1, 2:] = 0
        b[1] *= (6 / 2) / (8 / 4)
    want["blocks/layers/feed_forward/up/adapter/b"] *= (2 / 4) / (8 / 4)
    assert_close(logits(adapted, back), logits(model, unflatten_dict(want, sep="/")), 2e-6)
    config |= {"target_modules": ["c_attn", "attn.c_proj", "c_fc"], "layers_to_transform": [1]}
    tensors = {name: array for name, array in tensors.items() if ".h.1." in name}
    write_file(tmp_path / "a" / WEIGHTS, tensors)
    (tmp_path / "a" / CONFIG).write_text(json.dumps(config))
    _, back = read(tmp_path / "a", model, params)
    assert all(not leaf[0].any() for path, leaf in own(back).items() if path.endswith("/b"))


def test_what_was_trained_whole_lies_whole_in_the_file(weights, tmp_path):
    model = GPT.evolve(adapter=FUSED, text_head=TASK)
    params = weights(model)
    base = weights(GPT, 5)
    changed = {path for path in below(params) if path.startswith(("text_head/", "blocks/layers/norm_attention"))}
    changed |= {"blocks/layers/attention/k/bias", "blocks/layers/attention/o/bias", "embed/position"}
    mixed = unflatten_dict(
        {p: leaf if p in changed or "/adapter/" in p else flat(base)[p] for p, leaf in flat(params).items()}, sep="/"
    )
    write_adapter(tmp_path / "a", model, mixed, flat(base), None)
    config, names = json.loads((tmp_path / "a" / CONFIG).read_text()), {*read_tensors(tmp_path / "a" / WEIGHTS)}
    assert config["modules_to_save"] == ["ln_1", "score", "wpe"] and config["bias"] == "all"
    assert config["task_type"] == "SEQ_CLS" and "base_model.model.score.weight" in names
    layer = "base_model.model.transformer.h.0"
    assert {name.removeprefix(f"{layer}.") for name in names if name.startswith(layer) and "lora" not in name} == {
        "attn.c_attn.base_layer.bias",
        "attn.c_proj.bias",
        "ln_1.weight",
        "ln_1.bias",
    }
    adapted, leaves = read_adapter(tmp_path / "a", GPT, lambda path: flat(base)[path])
    assert adapted.text_head.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    for path, leaf in leaves.items():
        np.testing.assert_array_equal(leaf, flat(mixed)[path], err_msg=path)
    assert changed <= leaves.keys()


@pytest.mark.parametrize("tied", [True, False])
def test_a_token_table_or_an_output_of_its_own(tied, weights, tmp_path):
    """PEFT leaves a tied output with the old table where the new one alone is saved."""
    model = GPT.evolve(adapter=FUSED, tied=tied)
    params, table = weights(model), np.random.default_rng(3).normal(size=(11, 8)).astype(np.float32)
    config, tensors, _ = written(tmp_path / "a", model, params)
    for name, saved in {"transformer.wte": ["wte"], "lm_head": ["lm_head"]}.items():
        folder = tmp_path / name
        folder.mkdir()
        write_file(folder / WEIGHTS, tensors | {f"base_model.model.{name}.weight": table})
        (folder / CONFIG).write_text(json.dumps(config | {"modules_to_save": saved}))
        adapted, back = read(folder, model, params)
        old, new = below(params)["embed/token"], flat(back)
        output = old.T if tied else below(params)["lm_head/weight"]
        assert not adapted.tied
        np.testing.assert_array_equal(new["embed/token"], table if name != "lm_head" else old)
        np.testing.assert_array_equal(new["lm_head/weight"], table.T if name == "lm_head" else output)
    rows = {"base_model.model.transformer.wte.token_adapter.trainable_tokens_delta": table[:2]}
    write_file(folder / WEIGHTS, tensors | rows)
    (folder / CONFIG).write_text(json.dumps(config | {"trainable_token_indices": [7, 3]}))
    adapted, back = read(folder, model, params)
    got = flat(back)["embed/token"]
    np.testing.assert_array_equal(got[[7, 3]], table[:2])
    np.testing.assert_array_equal(np.delete(got, [7, 3], 0), np.delete(old, [7, 3], 0))
    assert adapted.tied == tied


REFUSED = {
    "peft_type": ("ADALORA", "peft_type: 'ADALORA' is not read; known: LORA, IA3, PREFIX_TUNING"),
    "r": (0, "r: 0, expected greater than 0"),
    "lora_alpha": ("x", "lora_alpha: 'x', expected"),
    "task_type": ("SEQ_2_SEQ_LM", "task_type: 'SEQ_2_SEQ_LM' is not read"),
    "init_lora_weights": ("pissa", "init_lora_weights: 'pissa' changed the base's weights too"),
    "use_qalora": (True, "use_qalora: True is not followed here"),
    "layer_replication": ([[0, 2]], "layer_replication: .* is not followed here"),
    "target_parameters": (["x"], "target_parameters: .* is not followed here"),
    "alora_invocation_tokens": ([1], "alora_invocation_tokens: .* is not followed"),
    "something_new": (0, "something_new: 0 is not followed"),
    "bias": ("some", "bias: 'some', "),
    "target_modules": ("(a+)+", r"'\(a\+\)\+'.*: repeats too much"),
    "rank_pattern": ({"(": 3}, "is no regular expression"),
    "exclude_modules": (["c_attn"], "target_modules: names no projection"),
    "layers_to_transform": ([7], "target_modules: names no projection"),
    "modules_to_save": (["wpe"], "wpe.weight: missing; modules_to_save names it"),
    "trainable_token_indices": ([3], "wte.token_adapter.trainable_tokens_delta: missing"),
    "use_dora": (True, r"lora_magnitude_vector: missing; .* \(and 1 more\)"),
}
FINE = {
    "peft_version": "0.99",
    "auto_mapping": {"base_model_class": "GPT2Model"},
    "revision": "main",
    "megatron_core": "megatron.core",
    "qalora_group_size": 16,
    "loftq_config": {},
    "something_new": None,
    "another": False,
    "runtime_config": {},
    "init_lora_weights": "gaussian",
    "lora_alpha": 16.0,
    "exclude_modules": ["c_proj"],
}


ALL_LINEAR = {
    f"base_model.model.transformer.h.{i}.{name}.lora_{part}.weight": np.ones(shape, np.float32)
    for i in range(2)
    for name, (inputs, outputs) in {"attn.c_proj": (8, 8), "mlp.c_fc": (8, 32), "mlp.c_proj": (32, 8)}.items()
    for part, shape in {"A": (2, inputs), "B": (outputs, 2)}.items()
}


@pytest.fixture
def adapter(weights, tmp_path):
    """`adapter(keys, tensors)`: reads a folder with these keys and tensors in place of its own; None: without."""
    model = GPT.evolve(adapter=FUSED)
    params = weights(model)
    config, tensors, _ = written(tmp_path / "a", model, params)

    def get(keys=None, arrays=None, model=model):
        whole = {name: array for name, array in (tensors | (arrays or {})).items() if array is not None}
        write_file(tmp_path / "a" / WEIGHTS, whole)
        (tmp_path / "a" / CONFIG).write_text(
            json.dumps({k: v for k, v in (config | (keys or {})).items() if v is not ...})
        )
        return read(tmp_path / "a", model, params if model.num_layers == 2 else weights(model))

    return get


@pytest.mark.parametrize("key", REFUSED)
def test_keys_that_cannot_be_followed_are_refused_by_name(key, adapter):
    value, line = REFUSED[key]
    with pytest.raises(ConfigError, match=line) as caught:
        adapter({key: value})
    assert len(caught.value.problems) == 1


def test_keys_of_no_consequence_change_nothing(adapter):
    plain, more = adapter(), adapter(FINE)
    assert plain[0] == more[0]
    jax.tree.map(np.testing.assert_array_equal, plain[1], more[1])
    everything = adapter({"target_modules": "all-linear"}, ALL_LINEAR)
    assert {path.split("/adapter")[0].rpartition("/")[2] for path in own(everything[1])} == {*"qkvo", "up", "down"}
    bare = {key: ... for key in ("revision", "inference_mode", "rank_pattern", "use_dora", "lora_dropout", "bias")}
    assert adapter(bare)[0] == plain[0]


NAME = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
BAD = {
    "missing": ({NAME: None}, "h.0.attn.c_attn.lora_A.weight: missing"),
    "shape": ({NAME: np.zeros((2, 9), np.float32)}, r"lora_A.weight: shape \(2, 9\), expected \(2, 8\)"),
    "rank": ({NAME: np.zeros((3, 8), np.float32)}, r"shape \(3, 8\), expected \(2, 8\)"),
    "scalar": ({NAME: np.zeros((), np.float32)}, r"shape \(\), expected \(2, 8\)"),
    "number": ({NAME: np.full((2, 8), np.nan, np.float32)}, "lora_A.weight: holds NaN or infinity"),
    "dtype": ({NAME: np.zeros((2, 8), np.int32)}, "int32 is not a floating type"),
    "extra": (
        {NAME.replace("h.0", "h.7"): np.zeros((2, 8), np.float32)},
        "h.7.attn.c_attn.lora_A.weight: .* says nothing",
    ),
    "embedding": (
        {"base_model.model.transformer.wte.lora_embedding_A": np.zeros((2, 11), np.float32)},
        "says nothing of it",
    ),
    "twice": ({NAME.removeprefix("base_model.model."): np.zeros((2, 8), np.float32)}, "there twice, by two names"),
}


@pytest.mark.parametrize("name", BAD)
def test_tensors_that_do_not_fit_are_one_line(name, adapter):
    arrays, line = BAD[name]
    with pytest.raises(
        JaxgptError, match=f"^adapter: .* does not fit these weights: .*{line}.*trained on 'base'$"
    ) as caught:
        adapter(arrays=arrays)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("other", [GPT.evolve(num_layers=3), GPT.evolve(d_model=16), LLAMA])
def test_an_adapter_for_another_base_is_one_line(other, adapter):
    with pytest.raises(JaxgptError, match=r"does not fit these weights: .*trained on 'base'$") as caught:
        adapter(model=other)
    assert len(caught.value.problems) == 1


def test_what_the_files_cannot_say_is_refused(weights, tmp_path):
    model = GPT.evolve(adapter={"kind": "adapter"})
    with pytest.raises(ConfigError, match="no place for 'adapter', only for lora, ia3, prefix, prompt"):
        write_adapter(tmp_path / "a", model, weights(model), {}, None)
    model = GPT.evolve(adapter=FUSED | {"bias": True, "dora": True})
    with pytest.raises(ConfigError, match=r"model.adapter.bias: true with dora"):
        written(tmp_path / "a", model, weights(model))
    model = GPT.evolve(adapter=FUSED)
    params = weights(model)
    with pytest.raises(ConfigError, match=re.escape("an adapter on h.{i}.attn.c_attn or its weight, not both")):
        written(tmp_path / "a", model, params, **{"blocks/layers/attention/k/weight": np.zeros((2, 8, 8), np.float32)})
    model = GPT.evolve(adapter={"kind": "prefix"}, context=64)
    with pytest.raises(ConfigError, match="single biases beside lora alone, not beside prefix"):
        written(tmp_path / "a", model, weights(model), **{"norm_final/bias": np.zeros(8, np.float32)})
    assert not (tmp_path / "a").exists()
