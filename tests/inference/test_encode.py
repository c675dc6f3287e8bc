"""Vectors of texts: as each text alone, in order, in few compiled shapes, for encoders and decoders."""

import json
from functools import partial

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.inference import by_length
from jaxgpt.inference import encode as encoding
from jaxgpt.inference.loaded import Loaded
from jaxgpt.models import BERT, GPT2
from jaxgpt.ops.pooling import Recipe, normalise
from jaxgpt.spec import ConfigError
from jaxgpt.text import WordPiece
from jaxgpt.text.tokenizers.byte import ByteCodec

SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 4, "context": 24}
WORDS = ["banana", "bandana", "an", "nab", "bad", "dab"]
rng = np.random.default_rng(0)
TEXTS = [" ".join(rng.choice(WORDS, n)) for n in rng.choice([0, 1, 6, 9, 13, 29], 21)]  # of few lengths, and all widths


@pytest.fixture(scope="module")
def wordpiece():
    return WordPiece(vocab_size=40).train(lambda: WORDS * 3)


@pytest.fixture(scope="module")
def bert(weights, wordpiece):
    model = BERT(**SIZE, vocab_size=wordpiece.vocab_size, pooler=False, masked_head=False)
    return Loaded(model, model, weights(model), wordpiece)


@pytest.fixture(scope="module")
def gpt(weights):
    model = GPT2(**SIZE, vocab_size=257)
    return Loaded(model, model, weights(model), ByteCodec())


@partial(jax.jit, static_argnums=0)
def hidden(model, params, ids):
    return model.build().apply({"params": params}, ids, method="hidden")


def alone(m, ids):
    """(T, D): one row by itself, without any padding."""
    return np.asarray(hidden(m.model, m.params, np.asarray(ids)[None])[0])


def framed(m, text, limit=SIZE["context"]):
    ids = m.tokenizer.encode(text)[: limit - 2]
    vocab = json.loads(m.tokenizer.tokenizer_json())["model"]["vocab"]
    return [vocab["[CLS]"], *ids, vocab["[SEP]"]]


def test_an_encoder_gives_the_mean_of_each_text_alone(bert):
    vectors = bert.encode(TEXTS, batch_size=4, quiet=True)
    assert vectors.shape == (21, 16) and vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert_close(vector, alone(bert, framed(bert, text)).mean(0), 2e-6)


def test_a_decoder_gives_the_last_token_of_each_text_alone(gpt):
    texts = [text for text in TEXTS if text]
    for text, vector in zip(texts, gpt.encode(texts, quiet=True), strict=True):
        assert_close(vector, alone(gpt, gpt.tokenizer.encode(text)[:24])[-1], 2e-6)
    means = gpt.encode(texts[:3], pooling="mean", quiet=True)
    assert_close(means[2], alone(gpt, gpt.tokenizer.encode(texts[2])[:24]).mean(0), 2e-6)


@pytest.mark.often("[5]")
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_batch_size_changes_nothing(bert, batch_size):
    want = bert.encode(TEXTS, batch_size=4, quiet=True)
    assert_close(bert.encode(TEXTS, batch_size=batch_size, quiet=True), want, 2e-6)


def test_few_shapes_are_compiled(bert):
    """Of 300 texts of any length, no more than there are widths from 8 to the context."""
    encoding._pooled.clear_cache()
    bert.encode([" ".join(["an"] * n) for n in rng.integers(0, 60, 300)], batch_size=4, quiet=True)
    assert 1 < encoding._pooled._cache_size() <= 4  # 8, 12, 16, 24
    widths = {by_length.padded(n, 512) for n in range(1, 513)}
    assert widths == {8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}
    assert all(n <= by_length.padded(n, 500) <= max(8, 1.5 * n) for n in range(1, 501))


def test_a_recipe_is_followed(bert):
    recipe = Recipe(("cls", "max"), after=(lambda x: 2 * x, normalise), max_length=6, prompt=" BAD: ", strip=True)
    m = Loaded(bert.model, bert.model, bert.params, bert.codec, recipe=recipe._replace(lowercase=True))
    (vector,) = m.encode(["nab AN an an  "], quiet=True)
    hidden = alone(m, framed(m, "bad: nab an an an", limit=6))
    want = np.concatenate([hidden[0], hidden.max(0)])
    assert_close(vector, want / np.linalg.norm(want), 2e-6)
    assert m.encode([], quiet=True).shape == (0, 32)


def test_progress_is_told_once_it_lasts(bert, monkeypatch, capsys):
    bert.encode(TEXTS)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(by_length, "PATIENCE", 0.0)
    bert.encode(TEXTS, batch_size=4)
    assert "21/21 texts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "more", "message"),
    [
        ("banana", {}, r"texts: a single string; expected a list"),
        (["an", 3], {}, r"texts: row 1 is int 3, expected a string"),
        (["an"], {"batch_size": 0}, r"batch_size: 0, expected a whole number"),
        (["an"], {"pooling": "men"}, r"pooling: unknown 'men'; did you mean 'mean'\?"),
    ],
)
def test_bad_input_is_one_line(bert, texts, more, message):
    with pytest.raises(ConfigError, match=message) as caught:
        bert.encode(texts, quiet=True, **more)
    assert len(caught.value.problems) == 1


def test_a_text_without_a_token_is_named(gpt):
    with pytest.raises(ConfigError, match=r"texts: row 2, '', has no token"):
        gpt.encode(["a", "b", ""], quiet=True)


def test_a_mesh_changes_nothing(bert):
    from jaxgpt.parallel import Mesh, Standard, shardings

    mesh = Mesh(data=2, fsdp=2, tensor=2).build()
    where = shardings(bert.model.shapes(), Standard(), mesh, "params/")
    split = Loaded(bert.model, bert.model, jax.device_put(bert.params, where), bert.codec)
    assert_close(split.encode(TEXTS[:5], quiet=True), bert.encode(TEXTS[:5], quiet=True), 2e-6)
