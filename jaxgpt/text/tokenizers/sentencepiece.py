"""SentencePiece's BPE, from its pieces and their scores, run in Hugging Face `tokenizers`.

SentencePiece (and llama.cpp, and llama2.c) merges the neighbours that make the piece of the best score, the leftmost of
equals; `tokenizers` merges by a list of pairs. All ways to cut a piece into two known ones, the pieces in order of
their scores, are the list that gives the same ids. Kudo & Richardson 2018, SentencePiece, section 3.
"""

import re
import struct
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import read_small_bytes
from jaxgpt.text.tokenizers.huggingface import HuggingFaceCodec, with_ends
from jaxgpt.text.tokenizers.tokenizer_json import LARGEST, one_line

SPACE = "▁"
"""How pieces spell a space: U+2581."""
FILLER = re.compile(r"\[PAD\d+\]")
LONGEST_PIECE = 512
"""Characters of a piece that others merge to; SentencePiece learns none of more than 16 unless asked."""


class Kind(IntEnum):
    """What a piece is for; numbered as in SentencePiece's files and in GGUF."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Pieces(NamedTuple):
    """A vocabulary in order of its ids."""

    texts: list[str]
    scores: list[float]
    """Of two merges the one that makes the piece of the higher score comes first."""
    kinds: list[int]
    """Each a `Kind`."""


def sentencepiece(
    pieces: Pieces, bos: int | None = None, eot: int | None = None, prefix_space: bool = True
) -> HuggingFaceCodec:
    """The codec. `prefix_space` puts a space before every text, and decoding takes it away.

    Only normal pieces are found in text: a text that spells a control or user-defined piece stays text. Characters
    without a piece become their UTF-8 bytes where the vocabulary has byte pieces, else one unknown token a run.
    Raises ConfigError when the vocabulary holds no usable set of pieces.
    """
    import tokenizers as hf

    texts, kinds = pieces.texts, pieces.kinds
    vocab = named(pieces)
    unknown = next((text for text, kind in zip(texts, kinds, strict=True) if kind == Kind.UNKNOWN), None)
    with one_line("tokenizer: these pieces make no vocabulary"):
        model = hf.models.BPE(
            vocab=vocab, merges=merges(pieces), unk_token=unknown, fuse_unk=True, byte_fallback=Kind.BYTE in kinds
        )
    tokenizer = hf.Tokenizer(model)
    normalizers, decoders = hf.normalizers, hf.decoders
    tokenizer.normalizer = normalizers.Sequence(
        [*([normalizers.Prepend(SPACE)] if prefix_space else []), normalizers.Replace(" ", SPACE)]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if prefix_space else []),
        ]
    )
    special = (Kind.UNKNOWN, Kind.CONTROL, Kind.USER_DEFINED)
    tokenizer.add_special_tokens(
        [text for text, kind in zip(texts, kinds, strict=True) if kind in special and text and SPACE not in text]
    )
    return with_ends(tokenizer, texts, bos, eot)


def named(pieces: Pieces) -> dict[str, int]:
    """The id of each text, the first where several have it. What fills a vocabulary up, as llama.cpp and our export
    name it, is left out: such ids have no text."""
    vocab: dict[str, int] = {}
    for index, (text, kind) in enumerate(zip(pieces.texts, pieces.kinds, strict=True)):
        if kind != Kind.UNUSED or not FILLER.fullmatch(text):
            vocab.setdefault(text, index)
    return vocab


def merges(pieces: Pieces) -> list[tuple[str, str]]:
    """Every pair of normal pieces that makes a normal piece, in order of its score; equal scores by id.

    Raises ConfigError for a piece of more than LONGEST_PIECE characters, which could be cut in too many ways.
    """
    normal = {
        text: index
        for index, (text, kind) in reversed([*enumerate(zip(pieces.texts, pieces.kinds, strict=True))])
        if kind == Kind.NORMAL
    }
    long = next((text for text in normal if len(text) > LONGEST_PIECE), None)
    if long is not None:
        raise ConfigError(
            f"tokenizer: piece {quote(long)} has {len(long):,} characters; at most {LONGEST_PIECE} are read"
        )
    merges = []
    for index in np.argsort(-np.asarray(pieces.scores, np.float64), kind="stable").tolist():
        text = pieces.texts[index]
        if normal.get(text) != index:
            continue
        cuts = [(text[:cut], text[cut:]) for cut in range(len(text) - 1, 0, -1)]
        merges += [pair for pair in cuts if pair[0] in normal and pair[1] in normal]
    return merges


def read_llama2c(path: Path, size: int) -> Pieces:
    """llama2.c's `tokenizer.bin`: the longest piece's length (uint32), then score (float32), length (int32) and bytes
    of each of `size` pieces, of which 0 is unknown, 1 begins, 2 ends a text, and the next 256 are the bytes.

    Raises ConfigError with one line when the file is another thing or of another size.
    """
    data = read_small_bytes(path, LARGEST)
    texts, scores = list[str](), list[float]()
    at = 4
    while len(texts) < size and at + 8 <= len(data):
        score, length = struct.unpack_from("<fi", data, at)
        piece = data[at + 8 : at + 8 + max(length, 0)]
        if not 0 <= length == len(piece):
            break
        at += 8 + length
        texts.append(piece.decode("utf-8", "replace").replace(" ", SPACE))
        scores.append(score)
    if len(texts) != size or at != len(data):
        raise ConfigError(
            f"{path}: {len(texts)} pieces end at byte {at} of {len(data)}; expected the tokenizer.bin of llama2.c with "
            f"the model's {size}"
        )
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    if texts[3:259] != byte_pieces:
        raise ConfigError(f"{path}: pieces 3 to 258 are not the bytes; expected the tokenizer.bin of llama2.c")
    texts[1:3] = [text.strip("\n") for text in texts[1:3]]  # llama2.c shows a start as a line of its own
    kinds: list[int] = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL, *[Kind.BYTE] * 256, *[Kind.NORMAL] * (size - 259)]
    return Pieces(texts, scores, kinds)
