"""Labelled rows: arranged as an objective asks, numbered by the training split, balanced, and refused in one line."""

import json
from collections import Counter

import numpy as np
import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text import Byte, Data, RowPlan, WordPiece, batch_shapes, prepare
from jaxgpt.text.batches.training_data import ArrayShape

T = 24
LINES = [(f"text {i}", ("good", "bad")[i % 3 == 0], f"other {i}", i / 7) for i in range(30)]
CHOICES = [{"query": f"q{i}?", "choices": [f"c{i}{n}" for n in range(2 + i % 3)], "gold": i % 2} for i in range(20)]
CLASS, NUMBER = RowPlan(None, "joined", "class"), RowPlan(None, "both_orders", "number")
INDEX = RowPlan(None, "candidates", "index")


@pytest.fixture
def tsv(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("\ufeff" + "".join(f"{a}\t{label}\t\t{b}\t{score}\n" for a, label, b, score in LINES))
    return path


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "choices.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in CHOICES))
    return path


def made(path, plan, tokenizer=None, **data):
    data = Data(corpus=str(path), **data)
    batches = prepare(data, tokenizer or Byte(), T, cache=path.parent / "cache", quiet=True, plan=plan)
    known = data if batches.candidates is None else data.evolve(candidates=batches.candidates)
    assert batches.shapes(4) == batch_shapes(known, T, plan, 4) == shapes(batches.batch(0, 0, 4))
    assert shapes(batches.val_batches(4)[0]) == batches.shapes(4) if batches.val_tokens else True
    return batches


def shapes(batch):
    return {name: ArrayShape(part.shape, part.dtype.name) for name, part in batch.items()}


def text(batches, batch, row, name=""):
    return batches.codec.decode(batch["tokens" + name][row][batch["segments" + name][row] > 0])


def test_a_text_and_its_class(tsv):
    """The first row is no header, its byte order mark no text, and labels are numbered in order of their names."""
    batches = made(tsv, CLASS, columns=("1",), label="2", val_fraction=0.3)
    assert batches.labels == ("bad", "good") and batches.epoch_rows == len(batches.train[0]) == sum(
        batches.label_counts
    )
    known = {text: label for text, label, _, _ in LINES}
    seen = {}
    for batch in [batches.batch(0, 0, batches.epoch_rows), *batches.val_batches(4)]:
        for row in np.flatnonzero(batch["segments"].any(1)):
            seen[text(batches, batch, row)] = batches.labels[batch["label"][row]]
    assert seen == known and not batch["token_types"].any()


def test_two_texts_in_both_orders_and_their_score(tsv):
    batches = made(tsv, NUMBER, WordPiece(vocab_size=90), columns=("1", "4"), label="5", val_fraction=0)
    batch = batches.batch(0, 0, len(LINES))
    known = {f"[CLS] {a} [SEP] {b} [SEP]": (f"[CLS] {b} [SEP] {a} [SEP]", a, score) for a, _, b, score in LINES}
    assert len({text(batches, batch, row) for row in range(len(LINES))}) == len(LINES)
    for row in range(len(LINES)):
        turned, first, score = known[text(batches, batch, row)]
        assert text(batches, batch, row, "_1") == turned and batch["score"][row] == np.float32(score)
        second = batch["token_types_1"][row] == 1
        assert batches.codec.decode(batch["tokens_1"][row][second]) == f"{first} [SEP]"
    scores = np.array([score for *_, score in LINES], np.float32)
    np.testing.assert_allclose(batches.scale, [scores.mean(), scores.std()], rtol=1e-6)


def test_a_text_with_each_of_its_candidates(jsonl):
    """As many as the longest row has; others have empty ones at the end."""
    batches = made(jsonl, INDEX, columns=("query", "choices"), label="gold", val_fraction=0.2)
    assert batches.candidates == 4 and batches.labels is None
    batch = batches.batch(3, 0, batches.epoch_rows)
    for row in range(batches.epoch_rows):
        texts = [text(batches, batch, row, name) for name in ("", "_1", "_2", "_3")]
        record = CHOICES[int(texts[0].split("?")[0][1:])]
        want = [record["query"] + choice for choice in record["choices"]]
        assert texts == want + [""] * (4 - len(want)) and batch["label"][row] == record["gold"]
    with pytest.raises(ConfigError, match=r"choices\.jsonl:6: 4 candidates; data\.candidates says 3"):
        made(jsonl, INDEX, columns=("query", "choices"), label="gold", candidates=3)
    assert "tokens_5" in made(jsonl, INDEX, columns=("query", "choices"), label="gold", candidates=6).shapes(2)


def test_a_corpus_that_is_held_out_whole(tsv, tmp_path):
    dev = tmp_path / "dev.tsv"
    dev.write_text("unseen\tgood\t\tx\t1\n" * 3)
    batches = made(tsv, CLASS, columns=["1", 4], label=2, val_corpus=str(dev))
    assert len(batches.train[0]) == len(LINES) and len(batches.val[0]) == 3
    assert text(batches, batches.val_batches(4)[0], 2) == "unseenx"
    assert [*batches.val_batches(4)[0]["label"]] == [1, 1, 1, 0]
    windows = prepare(Data(corpus=str(tsv), val_corpus=str(dev)), Byte(), 4, cache=tmp_path / "cache", quiet=True)
    assert windows.val_tokens == len(dev.read_bytes()) and windows.train_tokens == tsv.stat().st_size - 3 + 1
    assert windows.epoch_rows == len(windows.train[0].ids_N) // 4 - 1
    with pytest.raises(ConfigError, match=r"data\.val_corpus: .* is what data\.corpus trains on"):
        made(tsv, CLASS, columns=("1",), label="2", val_corpus=str(tsv))
    with pytest.raises(ConfigError, match=r"data\.val_corpus: 'nowhere' is not there"):
        made(tsv, CLASS, columns=("1",), label="2", val_corpus="nowhere")


@pytest.mark.parametrize("balance", ["over", "under"])
def test_classes_come_equally_often(tsv, balance):
    """In every epoch; the rows of the larger class that `under` leaves out change from one to the next."""
    batches = made(tsv, CLASS, columns=("1",), label="2", val_fraction=0, balance=balance)
    size = {"over": 20, "under": 10}[balance]
    assert batches.label_counts == (size, size)
    assert batches.epoch_rows == 2 * size
    epochs = []
    for epoch in range(2):
        batch = batches.batch(1, epoch * 2 * size, (epoch + 1) * 2 * size)
        assert np.bincount(batch["label"]).tolist() == [size, size]
        epochs.append(Counter(text(batches, batch, row) for row in range(2 * size)))
    bad = [epochs[0][text] for text, label, _, _ in LINES if label == "bad"]
    good = [epochs[0][text] for text, label, _, _ in LINES if label == "good"]
    assert set(bad) == ({2} if balance == "over" else {1}) and max(good) == 1
    assert epochs[0] != epochs[1] or balance == "over"
    part = batches.batch(1, 3, 9)
    np.testing.assert_array_equal(part["tokens"], batches.batch(1, 0, 12)["tokens"][3:9])


def test_labels_of_numbers_are_in_the_order_of_numbers(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"s": "t{i}", "l": {label}}}\n' for i, label in enumerate([10, 9, -1, 10])))
    assert made(path, CLASS, columns=("s",), label="l", val_fraction=0).labels == ("-1", "9", "10")
    path.write_text("".join(f'{{"s": "t{i}", "l": {label}}}\n' for i, label in enumerate(["true", "false"])))
    assert made(path, CLASS, columns=("s",), label="l", val_fraction=0).labels == ("false", "true")


BAD = [
    ("a\tx\nb\tx\n", CLASS, {}, r"data\.label: every training row has the label 'x'"),
    ("a\t1\nb\tx\n", RowPlan(None, "joined", "number"), {}, r"rows\.tsv:2: label 'x' is no number"),
    ("a\t1\nb\t1e39\n", RowPlan(None, "joined", "number"), {}, r"rows\.tsv:2: label '1e39' is no number"),
    ("a\t1\nb\tinf\n", RowPlan(None, "joined", "number"), {}, r"rows\.tsv:2: label 'inf' is no number"),
    ("a\t1\nb\t1\n", RowPlan(None, "joined", "number"), {}, r"data\.label: every training row has the score 1"),
    ("a\t1\nb\t\n", CLASS, {}, r"rows\.tsv:2: column 2 is empty"),
    ("\t1\nb\t2\n", CLASS, {}, r"rows\.tsv:1: column 1 is empty"),
    ("a\t1\nb\t2\n", CLASS, {"label": "3"}, r"rows\.tsv:1: no column 3 in a row of 2"),
    ("a\t1\nb\t2\n", CLASS, {"columns": ("0",)}, r"rows\.tsv:1: no column 0 in a row of 2"),
    ("a\t1\nb\t2\n", CLASS, {"columns": ("text",)}, r"rows\.tsv:1: no column 'text'"),
]


@pytest.mark.parametrize(("rows", "plan", "data", "message"), BAD)
def test_bad_rows_are_one_line(tmp_path, rows, plan, data, message):
    path = tmp_path / "rows.tsv"
    path.write_text(rows)
    with pytest.raises(ConfigError, match=message) as refused:
        made(path, plan, **{"columns": ("1",), "label": "2", "val_fraction": 0} | data)
    assert "\n" not in str(refused.value)


def test_a_label_that_no_training_row_has_is_told_by_row(tsv, tmp_path):
    dev = tmp_path / "dev.tsv"
    dev.write_text("a\tgood\t\tx\t1\nb\tgod\t\tx\t1\n")
    with pytest.raises(ConfigError, match=r"dev\.tsv:2: label 'god' is none .*; did you mean 'good'"):
        made(tsv, CLASS, columns=("1",), label="2", val_corpus=str(dev))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gold": 2}, r"choices\.jsonl:1: label '2' is no place of one of 2 candidates; expected 0 to 1"),
        ({"gold": "A"}, r"label 'A' is no place"),
        ({"gold": None}, r"field 'gold' is null"),
        ({"choices": []}, r"no candidates; expected two or more"),
        ({"choices": ["one"]}, r"1 candidate; expected two or more"),
        ({"choices": ["one", " "]}, r"column 'choices\[1\]' is empty"),
        ({"choices": ["one", None]}, r"field 'choices\[1\]' is null"),
        ({"query": ["one", "two"]}, r"field 'query' is a list, expected text"),
    ],
)
def test_bad_choices_are_one_line(tmp_path, changes, message):
    path = tmp_path / "choices.jsonl"
    path.write_text(json.dumps(CHOICES[0] | changes) + "\n")
    with pytest.raises(ConfigError, match=message):
        made(path, INDEX, columns=("query", "choices"), label="gold", val_fraction=0)


def test_a_list_is_read_by_a_choice_alone(jsonl):
    with pytest.raises(ConfigError, match=r"field 'choices' is a list, .* chooses among candidates"):
        made(jsonl, RowPlan(None, "joined", "class"), columns=("query", "choices"), label="gold")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"label": "y"}, "label needs columns"),
        ({"columns": 2, "label": "y"}, "label 'y' is a name"),
        ({"columns": 2, "label": "2"}, "label '2' is one of the columns"),
        ({"columns": ("a",), "label": "a"}, "label 'a' is one of the columns"),
        ({"columns": ("a",), "apart": True, "label": "y"}, "leave one out"),
        ({"columns": ("a",), "balance": "over"}, "balance 'over' needs label"),
        ({"val_corpus": "dev.tsv", "val_fraction": 0.2}, "val_corpus 'dev.tsv' is held out whole"),
    ],
)
def test_fields_that_do_not_go_together(data, message):
    with pytest.raises(ValueError, match=message):
        Data(**data)
