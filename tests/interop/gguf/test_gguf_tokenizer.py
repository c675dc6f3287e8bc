"""Vocabularies inside GGUF: rules for words by name, special tokens, and the way back."""

import json

import numpy as np
import pytest
import tokenizers as hf

from jaxgpt.interop.gguf.tokenizer import RULES, read_tokenizer, tokenizer_fields
from jaxgpt.spec import ConfigError
from jaxgpt.text import BPE, ByteBPE, Char, WordPiece
from jaxgpt.text.tokenizers.sentencepiece import Kind, Pieces, sentencepiece

KEY = "tokenizer.ggml."
TEXTS = [
    "don't stop the cat's 1234 cats\n\n  at 12 cafés 日本語 e\u0301\n",
    "def f(x):\n    return x1 + 22  # ’tis",
] * 3
WORDS = {
    "gpt-2": ["We", "'", "LL", " don", "'t", " 12345", "\n\n", " x", "!!", "\n"],
    "smollm": ["We", "'", "LL", " don", "'t", " ", "1", "2", "3", "4", "5", "\n\n", " x", "!!", "\n"],
    "llama-bpe": ["We", "'LL", " don", "'t", " ", "123", "45", "\n\n", " x", "!!\n"],
    "qwen2": ["We", "'LL", " don", "'t", " ", "1", "2", "3", "4", "5", "\n\n", " x", "!!\n"],
}
"""Of "We'LL don't 12345\n\n x!!\n"; the first two know contractions in lower case only."""


@pytest.fixture(scope="module")
def learned():
    tree = json.loads(ByteBPE(vocab_size=380, end_of_text=None).train(lambda: TEXTS).tokenizer_json())["model"]
    return sorted(tree["vocab"], key=tree["vocab"].__getitem__), [" ".join(pair) for pair in tree["merges"]]


@pytest.fixture
def fields(learned):
    """`fields(pre, **more)`: a byte-level vocabulary with a start, an end, and an entry that its user defined."""

    def make(pre="gpt-2", **more):
        texts = ["<start>", "<end>", "<tool>", *learned[0]]
        held = {
            "model": "gpt2",
            "pre": pre,
            "tokens": texts,
            "token_type": np.array([3, 3, 4] + [1] * len(learned[0]), np.int32),
            "merges": learned[1],
            "bos_token_id": 0,
            "eos_token_id": 1,
        }
        return {KEY + key: value for key, value in (held | more).items() if value is not None}

    return make


@pytest.mark.parametrize("pre", RULES)
def test_text_is_parted_as_the_name_says(pre, fields):
    tokenizer = hf.Tokenizer.from_str(read_tokenizer(fields(pre)).tokenizer_json())
    text = "We'LL don't 12345\n\n x!!\n"
    parts = tokenizer.pre_tokenizer.pre_tokenize_str(text)
    assert [text[start:stop] for _, (start, stop) in parts] == WORDS[pre]


@pytest.mark.parametrize("pre", RULES)
def test_text_comes_back_and_special_tokens_are_not_read(pre, fields):
    codec = read_tokenizer(fields(pre))
    for text in [*TEXTS, "<start>a<end>"]:
        ids = codec.encode(text)
        composed = text.replace("e\u0301", "é") if pre == "qwen2" else text
        assert codec.decode(ids) == composed and {0, 1}.isdisjoint(ids)
    assert codec.encode("a<tool>b")[1] == 2
    assert (codec.eot, codec.decode([1])) == (1, "<end>")


def test_a_start_is_one_where_the_file_or_its_kind_says_so(fields):
    assert read_tokenizer(fields()).bos is None
    assert read_tokenizer(fields(add_bos_token=True)).bos == 0
    assert read_tokenizer(fields("llama-bpe")).bos == 0
    assert read_tokenizer(fields("llama-bpe", add_bos_token=False)).bos is None


def test_a_word_that_is_an_entry_needs_no_merges_in_llama_3(fields, learned):
    texts = ["<start>", "<end>", "<tool>", *learned[0], "zzz"]
    kinds = np.array([3, 3, 4] + [1] * (len(learned[0]) + 1), np.int32)
    whole = read_tokenizer(fields("llama-bpe", tokens=texts, token_type=kinds)).encode("zzz")
    assert whole == [len(texts) - 1]
    assert len(read_tokenizer(fields("gpt-2", tokens=texts, token_type=kinds)).encode("zzz")) == 3


@pytest.mark.parametrize("pre", RULES)
def test_what_is_written_reads_back(pre, fields):
    codec = read_tokenizer(fields(pre, add_bos_token=True))
    written = tokenizer_fields(codec, 500)
    assert written[f"{KEY}pre"] == pre and len(written[f"{KEY}tokens"]) == 500
    back = read_tokenizer(written | {f"{KEY}token_type": np.array(written[f"{KEY}token_type"])})
    assert (back.bos, back.eot) == (0, 1)
    assert back.encode_batch(TEXTS) == codec.encode_batch(TEXTS)
    assert back.vocab_size == codec.vocab_size and back.has_text.all()  # what fills it up to 500 has no text


def sentencepiece_fields(**more):
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    merged = ["▁a", "at", "▁c", "▁cat", "▁▁", "▁▁▁▁", "the", "he", "▁the", "cat"]
    texts = ["<unk>", "<s>", "</s>", *byte_pieces, *merged, *"▁catheso"]
    kinds = [2, 3, 3, *[6] * 256, *[1] * (len(merged) + 8)]
    held = {
        "model": "llama",
        "tokens": texts,
        "scores": np.array([0.0] * 259 + [-1.5 * i for i in range(len(merged) + 8)], np.float32),
        "token_type": np.array(kinds, np.int32),
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {KEY + key: value for key, value in (held | more).items() if value is not None}


@pytest.mark.parametrize("space", [True, False])
def test_sentencepiece_goes_in_and_out(space):
    fields = sentencepiece_fields(add_space_prefix=space)
    codec = read_tokenizer(fields)
    pieces = Pieces(fields[f"{KEY}tokens"], fields[f"{KEY}scores"].tolist(), fields[f"{KEY}token_type"].tolist())
    assert codec.digest == sentencepiece(pieces, 1, 2, prefix_space=space).digest
    assert (codec.bos, codec.eot) == (1, 2)
    assert codec.decode(codec.encode("the  cat é")) == "the  cat é"
    written = tokenizer_fields(codec, len(pieces.texts))
    numbers = ("scores", "token_type")
    back = read_tokenizer(written | {KEY + key: np.array(written[KEY + key]) for key in numbers})
    assert (back.digest, back.bos, back.eot) == (codec.digest, 1, 2)
    assert written[f"{KEY}token_type"] == [int(kind) for kind in pieces.kinds]
    assert Kind.BYTE in pieces.kinds


def test_a_start_that_is_not_put_in_front_is_none():
    assert read_tokenizer(sentencepiece_fields(add_bos_token=False)).bos is None


def test_a_file_without_a_vocabulary_has_no_codec():
    assert read_tokenizer({}) is None
    assert read_tokenizer({f"{KEY}model": "none"}) is None


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": "t5"}, "model: 't5' is not read; known: gpt2, llama"),
        ({"pre": "tekken"}, "pre: 'tekken' is not read; known: gpt-2, smollm"),
        ({"tokens": None}, "tokens: expected a list of texts"),
        ({"token_type": np.zeros(3, np.int32)}, "token_type: expected a number for each of"),
        ({"eos_token_id": 10**6}, "eos_token_id: 1000000 is no token of"),
        ({"bos_token_id": "<s>"}, "bos_token_id: '<s>' is no token of"),
        ({"merges": ["a b c"]}, "merges: expected two symbols"),
        ({"merges": ["never seen"]}, "merges: do not fit"),
        ({"model": "llama"}, "scores: expected a number for each of"),
    ],
)
def test_an_unsound_vocabulary_is_one_line(change, match, fields):
    with pytest.raises(ConfigError, match=match) as caught:
        read_tokenizer(fields(**change))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", [BPE(vocab_size=200), WordPiece(vocab_size=200), Char()])
def test_a_vocabulary_without_a_form_in_gguf_is_refused(kind):
    with pytest.raises(ConfigError, match="has no name in GGUF"):
        tokenizer_fields(kind.train(lambda: TEXTS), 10)
