"""Every tokenizer: ids within its vocabulary, the same ids after a save, text back as it was (or as it says)."""

import pytest

from jaxgpt.text.tokenizers.saved import load_codec

SEAM = "tokenizer"
EXAMPLES = {
    "bpe": [{"vocab_size": 300}],
    "byte_bpe": [{"vocab_size": 300}],
    "marked": [{"base": {"kind": "byte_bpe", "vocab_size": 300}}],
    "wordpiece": [{"vocab_size": 300}],
}
TEXTS = ["the cat sat on the mat, and the dog sat on the cat.\n", "def f(x):\n    return x + 1  # naïve\n"] * 4
LOSES_SPACES = {"bpe", "wordpiece"}


@pytest.fixture
def codec(member):
    return member.train(lambda: iter(TEXTS))


def test_ids_lie_within_the_vocabulary(codec):
    ids = [token for text in TEXTS for token in codec.encode(text)]
    assert min(ids) >= 0 and max(ids) < codec.vocab_size
    assert codec.eot is None or (0 <= codec.eot < codec.vocab_size and codec.eot not in ids)


def test_text_comes_back(member, codec):
    for text in TEXTS:
        back = codec.decode(codec.encode(text))
        if member.kind in LOSES_SPACES:
            assert codec.encode(back) == codec.encode(text)
        else:
            assert back == text


def test_a_saved_codec_encodes_alike(codec, tmp_path):
    codec.save(tmp_path)
    loaded = load_codec(tmp_path)
    assert loaded.digest == codec.digest and loaded.vocab_size == codec.vocab_size and loaded.eot == codec.eot
    assert [loaded.encode(text) for text in TEXTS] == codec.encode_batch(TEXTS)


def test_training_is_deterministic(member, codec):
    assert member.train(lambda: iter(TEXTS)).digest == codec.digest
