"""Sentence-transformers folders: their modules are honoured, or refused in one line; nothing outside is looked at."""

import json

import numpy as np
import pytest
from close import assert_close
from safetensors.numpy import save_file

import jaxgpt
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.sentence_transformers.read import read_source
from jaxgpt.models import BERT
from jaxgpt.spec import ConfigError
from jaxgpt.text import WordPiece

WORDS = ["banana", "bandana", "an", "nab", "bad", "dab"]
TEXTS = ["banana an", "", " Nab bad dab an an an an an an an an an an an an an"]
MODEL = BERT(
    num_layers=1,
    d_model=8,
    num_heads=2,
    context=16,
    vocab_size=40,
    masked_head=False,
    feed_forward={"kind": "mlp", "d_ff": 12, "activation": "gelu"},
)
CLASS = "sentence_transformers.models"


def put(path, tree):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(tree))


def modules(*names):
    """Entries of modules.json: the first module lies in the folder itself."""
    kinds = [(f"{CLASS}.{name}", "" if i == 0 else f"{i}_{name}") for i, name in enumerate(names)]
    return [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (kind, path) in enumerate(kinds)]


@pytest.fixture
def folder(tmp_path, weights):
    out = tmp_path / "model"
    write_folder(out, MODEL, weights(MODEL), WordPiece(vocab_size=40).train(lambda: WORDS * 3))
    put(out / "modules.json", modules("Transformer", "Pooling", "Normalize"))
    put(out / "1_Pooling" / "config.json", {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True})
    return out


@pytest.fixture
def plain(folder, tmp_path):
    """`plain(pooling)`: (N, 8) of the encoder alone, texts cut to eight tokens."""
    import dataclasses

    m = jaxgpt.load(folder)
    recipe = m.recipe._replace(after=(), max_length=8)
    return lambda pooling: dataclasses.replace(m, recipe=recipe).encode(TEXTS, pooling=pooling, quiet=True)


def test_pooling_and_length(folder, plain):
    put(folder / "sentence_bert_config.json", {"max_seq_length": 8, "do_lower_case": False})
    m = jaxgpt.load(folder)
    assert m.model == MODEL and m.recipe.poolings == ("mean",) and m.recipe.max_length == 8
    vectors = m.encode(TEXTS, quiet=True)
    want = plain("mean")
    assert_close(vectors, want / np.linalg.norm(want, axis=1, keepdims=True), 1e-6)


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False},
        {"pooling_mode": ["cls", "max"], "embedding_dimension": 8},
    ],
)
def test_several_poolings_are_joined(folder, plain, config):
    put(folder / "sentence_bert_config.json", {"max_seq_length": 8})
    put(folder / "modules.json", modules("Transformer", "Pooling"))
    put(folder / "1_Pooling" / "config.json", config)
    vectors = jaxgpt.load(folder).encode(TEXTS, quiet=True)
    assert_close(vectors, np.concatenate([plain("cls"), plain("max")], 1), 1e-6)


def test_dense_layers(folder, plain):
    draw = np.random.default_rng(0)
    weight, bias = draw.normal(size=(3, 8)).astype(np.float32), draw.normal(size=3).astype(np.float32)
    put(folder / "sentence_bert_config.json", {"max_seq_length": 8})
    put(folder / "modules.json", modules("Transformer", "Pooling", "Dense"))
    tanh = "torch.nn.modules.activation.Tanh"
    put(folder / "2_Dense" / "config.json", {"in_features": 8, "out_features": 3, "activation_function": tanh})
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")
    vectors = jaxgpt.load(folder).encode(TEXTS, quiet=True)
    assert_close(vectors, np.tanh(plain("mean") @ weight.T + bias), 1e-6)
    save_file({"linear.weight": weight.T.copy(), "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(ConfigError, match=r"2_Dense/model\.safetensors: tensors .*\(8, 3\).*expected .*\(3, 8\)"):
        read_source(folder)


def test_the_default_prompt_stands_in_front(folder):
    m = jaxgpt.load(folder)
    put(
        folder / "config_sentence_transformers.json",
        {"prompts": {"query": "nab ", "document": ""}, "default_prompt_name": "query"},
    )
    got = jaxgpt.load(folder).encode(["bad"], quiet=True)
    assert_close(got, m.encode(["nab bad"], quiet=True), 1e-6)


def test_the_length_is_the_tokenizers_where_none_is_given(folder):
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    put(folder / "tokenizer_config.json", settings | {"model_max_length": 5})
    assert read_source(folder).recipe.max_length == 5
    put(folder / "tokenizer_config.json", settings | {"model_max_length": int(1e30)})
    assert read_source(folder).recipe.max_length is None


@pytest.mark.parametrize("path", ["../other", "..", "/etc", "a/b", "a\\b", ".", 3])
def test_folder_names_stay_within(folder, path):
    entries = modules("Transformer", "Pooling")
    entries[1]["path"] = path
    put(folder / "modules.json", entries)
    with pytest.raises(ConfigError, match=r"modules\.json: entry 1: path .* is not the name of a folder"):
        read_source(folder)


def test_links_stay_within(folder, tmp_path):
    put(tmp_path / "secret" / "config.json", {"pooling_mode_cls_token": True})
    (folder / "1_Pooling" / "config.json").unlink()
    (folder / "1_Pooling").rmdir()
    (folder / "1_Pooling").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match=r"modules\.json: entry 1: path '1_Pooling' links out of the folder"):
        read_source(folder)


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (modules("Transformer", "Pooling", "LSTM"), r"modules Transformer, Pooling, LSTM are not followed"),
        (modules("Pooling", "Transformer"), r"modules Pooling, Transformer are not followed"),
        ([{"type": "mine.Pooling", "path": ""}], r"entry 0: type 'mine\.Pooling' is code of others"),
        ({"type": "x"}, r"no list of JSON objects"),
    ],
)
def test_other_modules_are_refused(folder, entries, line):
    put(folder / "modules.json", entries)
    with pytest.raises(ConfigError, match=line):
        read_source(folder)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"pooling_mode_median": True}, r"1_Pooling/config\.json: pooling_mode_: pooling_mode_median; expected one"),
        ({}, r"pooling_mode_: none is on"),
        ({"pooling_mode": "median"}, r"pooling_mode: 'median' is not followed; known: cls"),
    ],
)
def test_unknown_poolings_are_refused(folder, config, line):
    put(folder / "1_Pooling" / "config.json", config)
    with pytest.raises(ConfigError, match=line):
        read_source(folder)


def test_pickled_dense_layers_are_refused(folder):
    put(folder / "modules.json", modules("Transformer", "Pooling", "Dense"))
    identity = "torch.nn.modules.linear.Identity"
    put(folder / "2_Dense" / "config.json", {"in_features": 8, "out_features": 8, "activation_function": identity})
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin: is pickled"):
        read_source(folder)
