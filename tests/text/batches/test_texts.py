"""Rows of texts: framed, padded, each once an epoch, held out by their first text; words are numbered."""

import numpy as np
import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text import BPE, ByteBPE, Data, RowPlan, WordPiece, prepare
from jaxgpt.text.tokenizers.byte import Byte

WORDS = ["bandana", "banana", "an", "nab", "dab"]
TRIPLES = [(f"{a} an", f"{b} {a}", f"dab {b}") for a in WORDS for b in WORDS]
PIECES = WordPiece(vocab_size=40)


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "triples.csv"
    path.write_text("sent0,sent1,hard_neg\n" + "".join(",".join(row) + "\n" for row in TRIPLES))
    return path


def made(tmp_path, path, tokenizer=PIECES, words=None, **data):
    plan = RowPlan(words)
    return prepare(Data(corpus=str(path), **data), tokenizer, 12, cache=tmp_path / "cache", quiet=True, plan=plan)


def test_a_row_is_its_texts_within_their_frame(tmp_path, csv):
    held = made(tmp_path, csv, columns=("hard_neg", "sent0"), val_fraction=0.2)
    pairs = {(row[2], row[0]) for row in TRIPLES}
    seen = []
    count = len(held.train[0])
    batch = held.batch(0, 0, count)
    assert set(batch) == {"tokens", "segments", "tokens_1", "segments_1"}
    cls, sep = held.codec.frame[0][0], held.codec.frame[1][0]
    for i in range(count):
        texts = []
        for name in ("", "_1"):
            ids = batch["tokens" + name][i][batch["segments" + name][i] > 0]
            assert ids[0] == cls and ids[-1] == sep
            assert not batch["tokens" + name][i][len(ids) :].any()
            texts.append(held.codec.decode(ids[1:-1]))
        seen.append(tuple(texts))
    assert set(seen) <= pairs and len(set(seen)) == count
    whole = held.val_batches(4)
    assert sum(int((b["segments"].any(1)).sum()) for b in whole) == len(held.val[0]) == len(TRIPLES) - count
    assert whole[len(whole) - 1]["tokens"].shape == (4, 12)
    part = held.batch(0, 3, 5)
    np.testing.assert_array_equal(part["tokens_1"], batch["tokens_1"][3:5])


def test_texts_apart_and_plain_lines_are_the_same(tmp_path):
    rows, lines = tmp_path / "rows.tsv", tmp_path / "lines.txt"
    rows.write_text("".join("\t".join(row) + "\n" for row in TRIPLES))
    lines.write_text("".join(f"{text}\n" for row in TRIPLES for text in row))
    one = made(tmp_path, rows, Byte(), columns=3, apart=True).batch(5, 0, 9)
    two = made(tmp_path, lines, Byte(), columns=1).batch(5, 0, 9)
    assert {*one} == {"tokens", "segments"}
    np.testing.assert_array_equal(one["tokens"], two["tokens"])


@pytest.mark.parametrize("tokenizer", [PIECES, ByteBPE(vocab_size=270)], ids=lambda one: one.kind)
def test_words_are_numbered(tmp_path, csv, tokenizer):
    held = made(tmp_path, csv, tokenizer, words=True, columns=("sent1",))
    batch = held.batch(0, 0, 6)
    special = {*held.codec.frame[0], *held.codec.frame[1]}
    for ids, segments, words in zip(batch["tokens"], batch["segments"], batch["words"], strict=True):
        own = [i for i in range(len(ids)) if segments[i] and ids[i] not in special]
        assert not np.delete(words, own).any()
        told = held.codec.decode(ids[own]).split()
        by_word = [held.codec.decode(ids[words == n]).strip() for n in range(1, words.max() + 1)]
        assert [piece.removeprefix("##").replace(" ##", "") for piece in by_word] == told
    tokens = made(tmp_path, csv, tokenizer, words=False, columns=("sent1",)).batch(0, 0, 6)["words"]
    assert all(row[row > 0].tolist() == list(range(1, row.max() + 1)) for row in tokens)


@pytest.mark.parametrize(
    ("line", "data", "message"),
    [
        ("a,b\n", {"columns": 3}, r"rows\.csv:4: .*"),
        ("a,,c\n", {"columns": 3}, r"rows\.csv:4: .*empty"),
        ("", {"columns": ("a", "nope")}, r"nope"),
        ("", {"columns": 3, "val_fraction": 0.0, "apart": True, "documents": "separate"}, "documents"),
        ("", {"columns": 3, "val_fraction": 1e-9}, "holds out no row"),
    ],
)
def test_bad_rows_are_one_line(tmp_path, line, data, message):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n" * 3 + line)
    with pytest.raises((ConfigError, ValueError), match=message):
        made(tmp_path, path, Byte(), **data)


def test_words_need_a_vocabulary_that_marks_them(tmp_path, csv):
    with pytest.raises(ConfigError, match=r"objective\.masking\.whole_word: this tokenizer does not mark words"):
        made(tmp_path, csv, BPE(vocab_size=60), words=True, columns=("sent1",))
