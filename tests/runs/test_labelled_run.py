"""A run on labelled rows knows what a batch holds, settles on what its data decide, and refuses other data."""

import json

import pytest

from jaxgpt.runs.fits import check_devices
from jaxgpt.spec import ConfigError

HEAD = {"model.text_head": {"kind": "task"}, "tokenizer": "byte", "model.vocab_size": None}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"a": f"a{i}", "b": f"b{i}", "y": i % 3, "n": i % 2, "s": i, "list": ["c", "d", "e"]} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def task(tiny, corpus, kind, columns, label, **fields):
    data = {"corpus": corpus, "columns": columns, "label": label, "val_fraction": 0}
    return tiny(**{**HEAD, "objective": kind, "data": data, **fields})


CASES = [
    ("classify", ["a"], "y", 1, 3),
    ("classify", ["a", "b"], "n", 1, 2),
    ("regress", ["a", "b"], "s", 1, None),
    ("similarity", ["a", "b"], "s", 2, None),
    ("choice", ["a", "list"], "n", 3, None),
    ("choice", ["a", "b", "y"], "n", 2, None),
]


@pytest.mark.parametrize(("kind", "columns", "label", "sequences", "classes"), CASES)
def test_what_its_data_decide(tiny, corpus, kind, columns, label, sequences, classes):
    spec = task(tiny, corpus, kind, columns, label)
    run = spec.completed()
    assert run.complete and run.completed() is run and run.model.vocab_size == 257
    assert run.row_tokens == 8 * sequences
    shapes = run.batch_shapes()
    assert sum(name.startswith("token_types") for name in shapes) == sequences
    head = run.model.text_head
    assert head.labels == (None if classes is None else tuple(str(i) for i in range(classes)))
    assert (head.scale is not None) is (label == "s")
    assert spec.data.candidates is None and run.data.candidates == (sequences if kind == "choice" else None)
    marked = task(tiny, corpus, kind, columns, label, tokenizer={"kind": "marked", "base": "byte"})
    assert marked.completed().model.vocab_size == 260
    assert task(tiny, corpus, kind, columns, label, **{"model.vocab_size": 257}).completed().model.vocab_size == 257
    given = {"tokenizer": {"kind": "marked", "base": "byte"}, "model.vocab_size": 257}
    assert task(tiny, corpus, kind, columns, label, **given).completed().model.vocab_size == 260


REFUSED = [
    ("classify", {"data.label": None}, "objective classify needs labels; say with data.label"),
    ("classify", {"data.columns": ["a", "b", "s"]}, "reads one text or two a row; data.columns has 3"),
    ("similarity", {"data.columns": ["a"]}, "compares two texts a row; data.columns has 1"),
    ("choice", {"data.columns": ["a"]}, "reads a text and candidates"),
    ("classify", {"data.columns": None, "data.label": None}, "reads rows of texts; say with data.columns"),
    ("masked_language_model", {}, "data.label: objective masked_language_model reads no labels"),
    ("regress", {"data.balance": "over"}, "data.balance: objective regress has no classes"),
    ("regress", {"data.candidates": 3}, "data.candidates: objective regress reads none"),
    ("choice", {"data.columns": ["a", "b"], "data.candidates": 60000, "batch_size": 2**20}, "tokens a batch; lower"),
]


@pytest.mark.parametrize(("kind", "fields", "message"), REFUSED)
def test_data_of_another_make_are_refused(tiny, corpus, kind, fields, message):
    data = {"data.corpus": corpus, "data.columns": ["a", "b"], "data.label": "y"} | fields
    with pytest.raises(ConfigError, match=message) as refusal:
        tiny(**{**HEAD, "objective": kind, **data})
    assert all("\n" not in problem for problem in refusal.value.problems)


def test_batches_of_candidates_are_known_once_the_text_is_read(tiny, corpus):
    spec = task(tiny, corpus, "choice", ["a", "list"], "n")
    with pytest.raises(ConfigError, match=r"data\.candidates: known once the text is read"):
        spec.batch_shapes()
    check_devices(spec, 1)
    assert "tokens_4" in spec.evolve(data=spec.data.evolve(candidates=5)).batch_shapes()
