"""A text read as a whole stands within its vocabulary's template, and a cut takes the text's end alone."""

import json

import pytest

from jaxgpt.text import WordPiece
from jaxgpt.text.tokenizers.byte import ByteCodec
from jaxgpt.text.tokenizers.saved import load_codec

TEXTS = ["stop the banana", "", "[CLS] 1234"]


@pytest.fixture(scope="module")
def wordpiece():
    return WordPiece(vocab_size=60).train(lambda: ["stop the banana 1234 [CLS]"] * 4)


def test_the_template_is_berts(wordpiece, tmp_path):
    first, last = (wordpiece._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    assert wordpiece.frame == ((first,), (last,)) and wordpiece.bos is None
    want = [[first, *ids, last] for ids in wordpiece.encode_batch(TEXTS)]
    assert [ids.tolist() for ids in wordpiece.framed(TEXTS, 100)] == want
    assert first not in wordpiece.encode(TEXTS[2]), "letters in a text are letters"
    wordpiece.save(tmp_path)
    again = load_codec(tmp_path)
    assert again.frame == wordpiece.frame and again.digest == wordpiece.digest


def test_transformers_reads_the_same_template(wordpiece):
    """A pair's second text is in the second segment."""
    pair = json.loads(wordpiece.tokenizer_json())["post_processor"]["pair"]
    assert [next(iter(part.values()))["type_id"] for part in pair] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_a_cut_keeps_the_template(wordpiece, limit):
    (ids,) = wordpiece.framed(TEXTS[:1], limit)
    whole = wordpiece.framed(TEXTS[:1], 100)[0].tolist()
    assert ids.tolist() == (whole[: limit - 1] + whole[-1:] if limit > 1 else whole[:1])


def test_without_a_template_a_text_is_its_ids():
    codec = ByteCodec()
    assert [ids.tolist() for ids in codec.framed(TEXTS, 4)] == [ids[:4] for ids in codec.encode_batch(TEXTS)]
