"""Models that make vectors of texts go out as sentence-transformers folders, and mean the same there and back here."""

import dataclasses
import json

import numpy as np
import pytest
from close import assert_close
from safetensors.numpy import load_file

import jaxgpt
from jaxgpt.inference.convert import convert
from jaxgpt.inference.loaded import Loaded
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.sentence_transformers.export import strip_head
from jaxgpt.interop.sentence_transformers.read import Dense
from jaxgpt.models import BERT, GPT2, Llama, RoBERTa
from jaxgpt.ops.pooling import Recipe, normalise
from jaxgpt.spec import ConfigError
from jaxgpt.text import ByteBPE, WordPiece
from jaxgpt.text.tokenizers.byte import ByteCodec
from jaxgpt.text.tokenizers.char import CharCodec

WORDS = ["banana", "bandana", "an", "nab", "bad", "dab"]
TEXTS = ["banana an", "Nab bad dab an an an an an an an an an an an an an an", "dab", "bandana nab nab"]
SMALL = {"num_layers": 2, "d_model": 8, "num_heads": 2, "context": 16}
PIECES = WordPiece(vocab_size=40).train(lambda: WORDS * 3)
BYTES = ByteBPE(vocab_size=270).train(lambda: WORDS * 3)
BODIES = {
    "bert": (BERT(**SMALL, vocab_size=40, masked_head=False), PIECES),
    "roberta": (RoBERTa(**SMALL, vocab_size=40), PIECES),
    "gpt2": (GPT2(**SMALL, vocab_size=270), BYTES),
    "llama": (Llama(**SMALL, vocab_size=257), ByteCodec()),
}
HEADS = {
    "mean": {},
    "cls": {"pooling": "cls"},
    "linear": {"projection": "linear", "width": 5, "temperature": 0.05},
    "tanh": {"pooling": "max", "projection": "tanh"},
    "mlp": {"pooling": "mean_sqrt_len", "projection": "mlp", "width": 3},
    "simcse": {"pooling": "cls_before_pooler", "projection": "tanh"},
}
CASES = [("bert", name) for name in HEADS] + [
    ("roberta", "linear"),
    ("llama", "mlp"),
    ("gpt2", "last"),
    ("gpt2", "weighted_mean"),
]


def loaded(body, head, weights):
    """What `jaxgpt.load` gives of a run whose model has that head; a pooling's name is a head too."""
    model, codec = BODIES[body]
    model = model.evolve(text_head={"kind": "contrastive", **HEADS.get(head, {"pooling": head})})
    return Loaded(model, model, weights(model), codec)


def export(m, target, dtype="float32"):
    model, params, recipe = strip_head(m.model, m.params)
    write_folder(target, model, params, m.tokenizer, dtype=dtype, recipe=recipe)
    return target


FEW = [("bert", "mlp"), ("bert", "simcse"), ("roberta", "linear"), ("gpt2", "weighted_mean")]


@pytest.mark.often("gpt2-weighted_mean", "bert-mlp")
@pytest.mark.parametrize(("body", "head"), FEW)
def test_vectors_come_back(body, head, weights, tmp_path):
    m = loaded(body, head, weights)
    back = jaxgpt.load(export(m, tmp_path / "out"))
    assert back.model.text_head is None and "text_head" not in back.params
    assert_close(back.encode(TEXTS, quiet=True), m.encode(TEXTS, quiet=True), 1e-6)


def test_the_modules_are_what_the_head_does(weights, tmp_path):
    m = loaded("bert", "mlp", weights)
    out = export(m, tmp_path / "out")
    kinds = [(entry["path"], entry["type"]) for entry in json.loads((out / "modules.json").read_text())]
    places = ["", "1_Pooling", "2_Dense", "3_Dense"]
    assert kinds == [(place, f"sentence_transformers.models.{place[2:] or 'Transformer'}") for place in places]
    pooling = json.loads((out / "1_Pooling" / "config.json").read_text())
    assert pooling.pop("word_embedding_dimension") == 8 and pooling.pop("include_prompt")
    assert [name for name, on in pooling.items() if on] == ["pooling_mode_mean_sqrt_len_tokens"]
    for place, name, activation in (("2_Dense", "dense", "ReLU"), ("3_Dense", "out", "Identity")):
        config = json.loads((out / place / "config.json").read_text())
        assert config["activation_function"].endswith(f".{activation}")
        held = load_file(out / place / "model.safetensors")
        np.testing.assert_array_equal(held["linear.weight"], m.params["text_head"][name]["weight"].T)
        assert held["linear.weight"].shape == (config["out_features"], config["in_features"])
    assert not [name for name in load_file(out / "model.safetensors") if "text_head" in name or "temperature" in name]


def test_a_folder_goes_round(weights, tmp_path):
    """From sentence-transformers' form to ours and back to theirs: joined poolings, layers, length, prompt and case."""
    model, codec = BODIES["bert"]
    draw = np.random.default_rng(0)
    layer = Dense(draw.normal(size=(3, 16)).astype(np.float32), None, "GELU")
    recipe = Recipe(("mean", "cls"), (layer, normalise), max_length=7, prompt="nab: ", strip=True, lowercase=True)
    write_folder(tmp_path / "one", model, weights(model), codec, recipe=recipe)
    convert(tmp_path / "one", tmp_path / "two")
    for name in ("one", "two"):
        m = jaxgpt.load(tmp_path / name)
        assert m.recipe._replace(after=()) == recipe._replace(after=()) and len(m.recipe.after) == 2
        want = dataclasses.replace(m, recipe=recipe).encode(TEXTS, quiet=True)
        assert_close(m.encode(TEXTS, quiet=True), want, 1e-6)


def test_a_head_is_not_left_behind_unseen(weights, tmp_path):
    for body in ("bert", "gpt2"):
        m = loaded(body, "tanh", weights)
        with pytest.raises(ConfigError, match=r"model\.text_head: "):
            write_folder(tmp_path / "out", m.model, m.params, m.tokenizer)


@pytest.mark.parametrize("pooling", ["first_last", "top2"])
def test_poolings_of_several_layers_are_refused(pooling, weights, tmp_path):
    with pytest.raises(ConfigError, match=f"pooling: '{pooling}' has no form .*; known: cls, max, mean,") as caught:
        export(loaded("bert", pooling, weights), tmp_path / "out")
    assert len(caught.value.problems) == 1 and not list(tmp_path.iterdir())


def test_a_vocabulary_that_cannot_pad_is_refused(weights, tmp_path):
    m = loaded("gpt2", "mean", weights)
    with pytest.raises(ConfigError, match="tokenizer: has no token to pad with"):
        export(dataclasses.replace(m, codec=CharCodec("abc")), tmp_path / "out")
    with pytest.raises(ConfigError, match="there is no vocabulary"):
        write_folder(tmp_path / "out", *strip_head(m.model, m.params)[:2], recipe=Recipe(("mean",)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("body", "head"), CASES)
def test_sentence_transformers_gives_the_same_vectors(body, head, dtype, weights, tmp_path):
    peer = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    m = loaded(body, head, weights)
    theirs = peer.SentenceTransformer(str(export(m, tmp_path / "out", dtype)), device="cpu")
    want = m.encode(TEXTS, quiet=True)
    assert_close(theirs.encode(TEXTS), want, 1e-5 if dtype == "float32" else 0.05)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_their_recipe_is_followed_there_too(weights, tmp_path):
    peer = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    model, codec = BODIES["bert"]
    layer = Dense(np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32), None, "GELU")
    recipe = Recipe(("mean", "cls"), (layer, normalise), max_length=7, prompt="nab: ", strip=True, lowercase=True)
    write_folder(tmp_path / "out", model, weights(model), codec, recipe=recipe)
    theirs = peer.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert_close(theirs.encode(TEXTS), jaxgpt.load(tmp_path / "out").encode(TEXTS, quiet=True))
