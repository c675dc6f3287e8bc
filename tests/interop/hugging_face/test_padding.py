"""What a folder of a class for tasks says of padding and token types, without another library at hand."""

import json

import pytest

from jaxgpt.interop.hugging_face.export import padding, write_folder
from jaxgpt.models import BERT, GPT2
from jaxgpt.spec import parse
from jaxgpt.text import ByteBPE, Tokenizer, WordPiece

WORDS = ["banana", "bandana", "an", "nab"] * 3
SIZE = {"num_layers": 1, "d_model": 8, "num_heads": 2, "context": 8}
BPE = {"kind": "byte_bpe", "vocab_size": 300}
CODECS = {
    "the end of text": (lambda: ByteBPE(vocab_size=300).train(lambda: WORDS), "<|endoftext|>"),
    "its own": (lambda: WordPiece(vocab_size=30).train(lambda: WORDS), "[PAD]"),
    "no end of text": (lambda: ByteBPE(vocab_size=300, end_of_text=None).train(lambda: WORDS), None),
    "a mark that is not last": (
        lambda: parse(Tokenizer, {"kind": "marked", "base": BPE | {"end_of_text": None}}).train(lambda: WORDS),
        "_start_",
    ),
}


@pytest.mark.parametrize("case", CODECS)
def test_rows_are_filled_up_with_what_no_row_ends_with(case):
    make, name = CODECS[case]
    codec = make()
    token = padding(codec)
    assert (token is None) == (name is None) and (token is None or codec.decode([token]) == name)
    joined = codec.joined(["an nab"], None, 8)[0].ids.tolist()
    assert token not in joined[-1:]


@pytest.mark.parametrize("kind", [GPT2, BERT])
def test_a_folder_says_so(kind, weights, tmp_path):
    codec = CODECS["the end of text" if kind is GPT2 else "its own"][0]()
    own = {"lm_head": False} if kind is GPT2 else {"masked_head": False}
    head = {"kind": "task", "labels": ("no", "yes"), "bias": kind is BERT}
    model = kind(**SIZE | own, vocab_size=codec.vocab_size, text_head=head)
    write_folder(tmp_path / "hf", model, weights(model), codec)
    config, settings = (
        json.loads((tmp_path / "hf" / name).read_text()) for name in ("config.json", "tokenizer_config.json")
    )
    assert config["pad_token_id"] == padding(codec)
    assert settings["pad_token"] == codec.decode([padding(codec)])
    assert ("token_type_ids" in settings["model_input_names"]) == (kind is BERT)


def test_no_token_to_fill_up_with_is_null(weights, tmp_path):
    codec = CODECS["no end of text"][0]()
    model = GPT2(**SIZE, vocab_size=300, lm_head=False, text_head={"kind": "task", "scale": (0.0, 1.0), "bias": False})
    write_folder(tmp_path / "hf", model, weights(model), codec)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["pad_token_id"] is None
