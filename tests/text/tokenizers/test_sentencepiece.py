"""SentencePiece's merging by best score, out of `tokenizers`; llama2.c's vocabulary files."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.saved import load_codec
from jaxgpt.text.tokenizers.sentencepiece import SPACE, Kind, Pieces, read_llama2c, sentencepiece

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
MERGED = ["▁a", "ab", "▁b", "ba", "▁▁", "▁ab", "abab", "▁ba", "aa", "▁▁▁▁", "aab", "日本", "▁日", "bb", "▁▁▁"]
LETTERS = ["▁", "a", "b", "日", "本", "<", "s", ">"]
"""Among them those of `<s>`, which no text may spell."""


def vocabulary(merged=MERGED, letters=LETTERS, byte_pieces=BYTES) -> Pieces:
    texts = ["<unk>", "<s>", "</s>", *byte_pieces, *merged, *letters]
    kinds = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL, *[Kind.BYTE] * len(byte_pieces)]
    kinds += [Kind.NORMAL] * (len(merged) + len(letters))
    scores = [0.0] * (3 + len(byte_pieces)) + [-float(rank) for rank in range(len(merged) + len(letters))]
    return Pieces(texts, scores, kinds)


def reference(text: str, pieces: Pieces, prefix: bool) -> list[int]:
    """Of all neighbours that make a known piece merge those of the best score, the leftmost of equals, till none do."""
    ids = {text: index for index, text in enumerate(pieces.texts)}
    normal = {text for text, kind in zip(pieces.texts, pieces.kinds, strict=True) if kind == Kind.NORMAL}
    word = [*((" " + text if prefix and text else text).replace(" ", SPACE))]
    while True:
        made = [(first + second, at) for at, (first, second) in enumerate(itertools.pairwise(word))]
        made = [(piece, at) for piece, at in made if piece in normal]
        if not made:
            break
        piece, at = max(made, key=lambda pair: pieces.scores[ids[pair[0]]])
        word[at : at + 2] = [piece]
    return [
        token for one in word for token in ([ids[one]] if one in normal else [3 + byte for byte in one.encode("utf-8")])
    ]


@pytest.mark.parametrize("prefix", [True, False])
@given(text=st.text(alphabet=" ab日本<s>\n", max_size=40) | st.text(max_size=20))
def test_ids_equal_merging_by_best_score(prefix: bool, text: str):
    pieces = vocabulary()
    codec = sentencepiece(pieces, bos=1, eot=2, prefix_space=prefix)
    sound = text.encode("utf-8", "replace").decode()
    assert codec.encode(text) == reference(sound, pieces, prefix)
    if SPACE not in sound:
        assert codec.decode(codec.encode(text)) == sound


def test_scores_decide_and_not_the_order_of_ids():
    pieces = vocabulary(merged=["ab", "bb"])
    first, second = (pieces.texts.index(text) for text in ("ab", "bb"))
    letters = {text: pieces.texts.index(text) for text in "▁ab"}
    assert sentencepiece(pieces).encode("abb") == [letters["▁"], first, letters["b"]]
    pieces.scores[second] = 1.0
    assert sentencepiece(pieces).encode("abb") == [letters["▁"], letters["a"], second]


def test_without_byte_pieces_a_run_of_unknown_letters_is_one_token():
    codec = sentencepiece(vocabulary(byte_pieces=[]), prefix_space=False)
    assert codec.encode("aéøa") == [codec.encode("a")[0], 0, codec.encode("a")[0]]


def test_special_pieces_are_never_read_and_print_by_name():
    codec = sentencepiece(vocabulary(), bos=1, eot=2)
    assert {1, 2}.isdisjoint(codec.encode("<s>a</s>"))
    assert (codec.bos, codec.eot, codec.decode([1])) == (1, 2, "<s>")


def test_the_text_behind_a_prompt_keeps_its_space():
    codec = sentencepiece(vocabulary(), bos=1, eot=2)
    assert codec.decode(codec.encode("ab")) == "ab"
    assert codec.continuation([], codec.encode("ab")) == "ab"
    assert codec.continuation([1], codec.encode("ab")) == "ab"
    assert codec.continuation([1, *codec.encode("b")], codec.encode("ab")) == " ab"
    tail = list("é".encode())
    assert codec.continuation([*codec.encode("b"), 3 + tail[0]], [3 + tail[1]]) == "\ufffd"


def test_a_saved_codec_keeps_its_start_and_transformers_would_add_it(tmp_path):
    import tokenizers as hf

    codec = sentencepiece(vocabulary(), bos=1, eot=2)
    codec.save(tmp_path)
    again = load_codec(tmp_path)
    assert (again.bos, again.eot, again.digest) == (1, 2, codec.digest)
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')  # not ours: may be one that is never used
    assert load_codec(tmp_path).bos is None
    assert hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("ab").ids == [1, *codec.encode("ab")]


def llama2c(pieces: Pieces) -> bytes:
    texts = [text.replace(SPACE, " ").encode() for text in pieces.texts]
    texts[1:3] = [b"\n<s>\n", b"\n</s>\n"]
    rows = [struct.pack("<fi", score, len(text)) + text for text, score in zip(texts, pieces.scores, strict=True)]
    return struct.pack("<I", max(map(len, texts))) + b"".join(rows)


def test_llama2c_files_read(tmp_path):
    pieces, path = vocabulary(), tmp_path / "tok.bin"
    path.write_bytes(llama2c(pieces))
    assert read_llama2c(path, len(pieces.texts)) == pieces


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda data: data[:-1], "expected the tokenizer.bin of llama2.c with the model's"),
        (lambda data: data + b"\0", "expected the tokenizer.bin of llama2.c with the model's"),
        (lambda data: data[:8] + b"\xff\xff\xff\xff" + data[12:], "0 pieces end at byte 4 of"),
        (lambda data: data[:8] + b"\xff\xff\xff\x7f" + data[12:], "0 pieces end at byte 4 of"),
        (lambda data: b"", "0 pieces end at byte 4 of 0"),
        (lambda data: data.replace(b"<0x00>", b"<0x0_>"), "pieces 3 to 258 are not the bytes"),
    ],
)
def test_a_damaged_llama2c_file_is_one_line(spoil, match, tmp_path):
    pieces, path = vocabulary(), tmp_path / "tok.bin"
    path.write_bytes(spoil(llama2c(pieces)))
    with pytest.raises(ConfigError, match=match) as caught:
        read_llama2c(path, len(pieces.texts))
    assert len(str(caught.value).splitlines()) == 1
