"""Every file and field that a vocabulary is read from, damaged at random: a codec that works, or an error of one line.

A case is drawn from its number alone: `drawn("tokenizer.json", 17, folder)` is what case 17 of it reads.
"""

import json
import random
import struct
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from bounds import outcome
from mutations import mutated_bytes, mutated_tree

from jaxgpt.interop.gguf.tokenizer import read_tokenizer, tokenizer_fields
from jaxgpt.interop.hugging_face.tokenizer import read_codec
from jaxgpt.text import BPE, ByteBPE, Codec, WordPiece
from jaxgpt.text.batches.window_batches import spelled
from jaxgpt.text.tokenizers.saved import load_codec
from jaxgpt.text.tokenizers.sentencepiece import Pieces, read_llama2c, sentencepiece

WORDS = ["don't stop the café 日本語 🙂 x=1; 1234 state_of_the_art hello world "] * 9
TEXTS = ["", "a", "hello world  don't café 日本語 🙂\n\t x=1234", "a" * 3000, " " * 3000]
PIECES = [
    "<unk>",
    "<s>",
    "</s>",
    *(f"<0x{byte:02X}>" for byte in range(256)),
    *"▁abcdehlorstw",
    "he",
    "ll",
    "llo",
    "▁w",
]
KINDS = [2, 3, 3, *[6] * 256, *[1] * (len(PIECES) - 259)]
SETTINGS = {
    "tokenizer_class": "X",
    "add_bos_token": True,
    "bos_token": {"content": "<s>", "lstrip": False},
    "eos_token": "</s>",
    "added_tokens_decoder": {"300": {"content": "<x>", "special": True, "lstrip": True}},
    "do_lower_case": True,
    "model_max_length": 512,
    "add_prefix_space": False,
}
ADDED = {"<x>": 300, "<y>": 301}
SPECIAL = {"bos_token": "<s>", "additional_special_tokens": ["<x>", {"content": "<y>"}]}
RULES = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Strip", "strip_left": True, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {"type": "NFKC"},
            {"type": "Prepend", "prepend": "▁"},
        ],
    },
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": False},
            {"type": "Digits", "individual_digits": True},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            {"type": "FixedLength", "length": 5},
        ],
    },
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<pad>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<pad>": {"id": "<pad>", "ids": [0], "tokens": ["<pad>"]}},
    },
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
        ],
    },
    "added_tokens": [
        {"id": 0, "content": "<pad>", "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    ],
    "model": {"type": "Unigram", "unk_id": 1, "vocab": [["<pad>", 0.0], ["<unk>", -1.0], ["▁a", -2.0], ["▁", -4.0]]},
}


@cache
def codecs() -> tuple[Codec, ...]:
    learned = [
        kind.train(lambda: WORDS) for kind in (ByteBPE(vocab_size=300), BPE(vocab_size=120), WordPiece(vocab_size=120))
    ]
    return *learned, sentencepiece(Pieces(PIECES, [-float(rank) for rank in range(len(PIECES))], KINDS), 1, 2)


@cache
def trees() -> list[dict]:
    return [*(json.loads(codec.tokenizer_json()) for codec in codecs()), {"version": "1.0", **RULES}]


def damaged(tree: object, rng: random.Random) -> bytes:
    """A tree of JSON, damaged as one or as bytes."""
    return (
        json.dumps(mutated_tree(tree, rng)).encode()
        if rng.random() < 0.8
        else mutated_bytes(json.dumps(tree).encode(), rng)
    )


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path in folder.iterdir():
        path.unlink()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def merged(tree: dict) -> bytes:
    return "\n".join(["#version: 0.2", *(" ".join(pair) for pair in tree["model"]["merges"])]).encode()


def whole_tokenizer(rng: random.Random, folder: Path) -> Codec | None:
    tree = rng.choice(trees())
    write(folder, {"tokenizer.json": damaged(tree, rng)})
    kind = {"BPE": ByteBPE, "WordPiece": WordPiece}.get(tree["model"]["type"], BPE)
    config = {"model_type": "roberta", "bos_token_id": 1, "eos_token_id": 0}
    ways: list[Callable] = [
        load_codec,
        lambda path: read_codec(path, config),
        lambda path: kind(path=str(path)).train(list),
    ]
    return rng.choice(ways)(folder)


def settings(rng: random.Random, folder: Path) -> Codec | None:
    files = {"tokenizer_config.json": SETTINGS, "added_tokens.json": ADDED, "special_tokens_map.json": SPECIAL}
    chosen = rng.choice(list(files))
    older = {"vocab.json": json.dumps(trees()[0]["model"]["vocab"]).encode(), "merges.txt": merged(trees()[0])}
    if chosen != "tokenizer_config.json":
        files["tokenizer_config.json"] = {}
    raw = {name: damaged(tree, rng) if name == chosen else json.dumps(tree).encode() for name, tree in files.items()}
    config = mutated_tree({"bos_token_id": 1, "eos_token_id": [2, 3]}, rng)
    if rng.random() < 0.3:
        return load_codec(write(folder, {"tokenizer.json": json.dumps(trees()[0]).encode()} | raw))
    return read_codec(write(folder, older | raw), config if isinstance(config, dict) else {})


def published(rng: random.Random, folder: Path) -> Codec | None:
    which = rng.randrange(2)
    vocab, merges = json.dumps(trees()[which]["model"]["vocab"]).encode(), merged(trees()[which])
    if rng.random() < 0.6:
        vocab = damaged(trees()[which]["model"]["vocab"], rng)
    else:
        merges = mutated_bytes(merges, rng)
    write(folder, {"vocab.json": vocab, "merges.txt": merges})
    return read_codec(folder, {}) if rng.random() < 0.2 else (ByteBPE, BPE)[which](path=str(folder)).train(list)


def vocab_txt(rng: random.Random, folder: Path) -> Codec | None:
    vocab = trees()[2]["model"]["vocab"]
    write(folder, {"vocab.txt": mutated_bytes("\n".join(sorted(vocab, key=vocab.get)).encode() + b"\n", rng)})
    return read_codec(folder, {}) if rng.random() < 0.5 else WordPiece(path=str(folder)).train(list)


def gguf(rng: random.Random, folder: Path) -> Codec | None:
    codec = rng.choice((codecs()[0], codecs()[3]))
    fields = tokenizer_fields(codec, codec.vocab_size + rng.randrange(3))
    for key in ("token_type", "scores"):
        if f"tokenizer.ggml.{key}" in fields:
            fields[f"tokenizer.ggml.{key}"] = np.array(fields[f"tokenizer.ggml.{key}"], np.float32)
    for key in rng.sample(sorted(fields), rng.randint(1, 2)):
        value = fields[key]
        if isinstance(value, np.ndarray):
            value = value.copy()
            value[rng.randrange(len(value))] = rng.choice([np.nan, np.inf, -1, 99, 0])
            fields[key] = rng.choice([value, value, value[:-1], value[::-1], np.zeros(0), None, 3, "x"])
        else:
            fields[key] = held(mutated_tree(value, rng))
    return read_tokenizer(fields)


def held(value: object) -> object:
    """What a GGUF file can hold: a number, a text, a list of texts."""
    if isinstance(value, list):
        return [str(part).encode("utf-8", "replace").decode() for part in value]
    return str(value).encode("utf-8", "replace").decode() if isinstance(value, str | dict) else value


def llama2c(rng: random.Random, folder: Path) -> Codec | None:
    raw = struct.pack("<I", 10)
    for rank, text in enumerate(["<unk>", "\n<s>\n", "\n</s>\n", *PIECES[3:]]):
        piece = text.replace("▁", " ").encode()
        raw += struct.pack("<fi", -float(rank), len(piece)) + piece
    write(folder, {"tokenizer.bin": mutated_bytes(raw, rng)})
    return sentencepiece(read_llama2c(folder / "tokenizer.bin", len(PIECES)), 1, 1)


FORMATS = {
    "tokenizer.json": whole_tokenizer,
    "settings": settings,
    "vocab.json and merges.txt": published,
    "vocab.txt": vocab_txt,
    "gguf": gguf,
    "llama2c": llama2c,
}


def drawn(name: str, number: int, folder: Path) -> Codec | None:
    return FORMATS[name](random.Random(number), folder)


def use(codec: Codec, folder: Path) -> None:
    """All that is ever done with a codec."""
    for text in TEXTS:
        ids = codec.encode(text)
        assert all(0 <= index < codec.vocab_size for index in ids)
        codec.decode(ids)
    assert len(codec.has_text) == codec.vocab_size
    codec.framed(TEXTS, 8)
    codec.continuation([0], [0])
    for index in range(min(codec.vocab_size, 50)):
        codec.decode([index])
    spelled(codec)
    codec.save(folder)
    assert load_codec(folder).digest == codec.digest


def check(name: str, numbers: range, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()

    def read(number: int) -> None:
        codec = drawn(name, number, tmp_path / "in")
        if codec is not None:
            use(codec, tmp_path / "out")

    for number in numbers:
        assert not (fault := outcome(partial(read, number))), (number, fault)


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_vocabulary_works_or_is_one_line(name: str, tmp_path: Path):
    check(name, range(15), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_vocabularies(name: str, tmp_path: Path):
    check(name, range(1000, 1300), tmp_path)
