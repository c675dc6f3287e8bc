"""Labelled files: which columns are read, what is measured and predicted, and one line for what cannot be."""

import math

import numpy as np
import pytest

from jaxgpt.evals.labelled import Columns, find_columns, measure, read_labelled
from jaxgpt.objectives import Choice, Classify, Regress
from jaxgpt.spec import ConfigError
from jaxgpt.text import Data

LABELS = ("bad", "good")
FILES = {
    "plain.tsv": "nab an\tgood\ndab\tbad\nan\tgood\n",
    "named.csv": "id,text,label\n1,nab an,good\n2,dab,bad\n",
    "pairs.csv": "sentence1,sentence2,score\nan,nab,4.5\ndab,an,1\n",
    "cola.tsv": "gj\t1\t\tnab an\ngj\t0\t*\tdab\n",
    "copa.jsonl": '{"query": "an", "choices": ["nab", "dab"], "gold": 1}\n'
    '{"query": "an", "choices": ["bad", "nab", "dab"], "gold": 0}\n',
    "choice.csv": "an,nab,dab,1\nnab,an,bad,0\n",
    "own.jsonl": '{"review": "nab", "stars": 2}\n',
    "names.csv": "review,stars\nnab,2\n",
    "one.csv": "nab\n",
    "one_class.tsv": "nab an\tgood\nan\tgood\n",
    "ids.tsv": "nab an\t1\ndab\t0\n",
    "odd.tsv": "nab an\tgood\ndab\tugly\n",
    "words.csv": "an,nab,often\n",
    "short.jsonl": '{"query": "an", "choices": ["nab"], "gold": 0}\n',
    "beyond.csv": "an,nab,dab,2\n",
    "empty.csv": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("labelled")
    for name, text in FILES.items():
        (out / name).write_text(text)
    return out


@pytest.mark.parametrize(
    ("task", "name", "data", "want"),
    [
        ("classify", "plain.tsv", None, (("1",), "2")),
        ("classify", "named.csv", None, (("text",), "label")),
        ("regress", "pairs.csv", None, (("sentence1", "sentence2"), "score")),
        ("similarity", "pairs.csv", None, (("sentence1", "sentence2"), "score")),
        ("classify", "cola.tsv", {"columns": ["4"], "label": "2"}, (("4",), "2")),
        ("classify", "plain.tsv", {"columns": ["4"], "label": "2"}, (("1",), "2")),
        ("regress", "own.jsonl", {"columns": ["review"], "label": "stars"}, (("review",), "stars")),
        ("classify", "named.csv", {"columns": ["text"], "label": "id"}, (("text",), "id")),
        ("classify", "plain.tsv", {"columns": ["text"], "label": "label"}, (("1",), "2")),
        ("choice", "copa.jsonl", None, (("query", "choices"), "gold")),
        ("choice", "choice.csv", None, (("1", "2", "3"), "4")),
    ],
)
def test_columns_are_the_models_or_known_or_in_their_places(task, name, data, want, folder):
    assert find_columns(task, folder / name, data and Data(**data)) == Columns(*want)


def of(outputs):
    return lambda rows: np.array(outputs[: len(rows)], np.float32)


def test_labels_are_measured_and_predicted(folder):
    rows = read_labelled("classify", folder / "plain.tsv", None)
    found = measure("classify", Classify(), LABELS, rows, of([[0, 2], [3, 0], [1, 0]]))
    figures, predicted = found.figures, found.rows
    assert figures["classify/accuracy"] == pytest.approx(2 / 3) and figures["classify/rows"] == 3
    first = predicted[0]
    share = 1 / (1 + math.exp(-2))
    assert first == {
        "texts": ["nab an"],
        "label": "good",
        "predicted": "good",
        "probabilities": {"bad": pytest.approx(1 - share), "good": pytest.approx(share)},
    }
    assert [row["predicted"] for row in predicted] == ["good", "bad", "bad"]


def test_labels_may_go_by_number(folder):
    rows = read_labelled("classify", folder / "ids.tsv", None)
    found = measure("classify", Classify(), LABELS, rows, of([[0, 2], [3, 0]]))
    figures, predicted = found.figures, found.rows
    assert figures["classify/accuracy"] == 1 and [row["label"] for row in predicted] == ["good", "bad"]
    found = measure("classify", Classify(), ("1", "0"), rows, of([[0, 2], [3, 0]]))
    figures, predicted = found.figures, found.rows
    assert figures["classify/accuracy"] == 0 and [row["label"] for row in predicted] == ["1", "0"]


def test_one_class_has_no_curve_and_no_crash(folder):
    rows = read_labelled("classify", folder / "one_class.tsv", None)
    figures = measure("classify", Classify(), LABELS, rows, of([[0, 2], [3, 0]])).figures
    assert math.isnan(figures["classify/roc_auc"]) and figures["classify/accuracy"] == 0.5


def test_numbers_and_candidates(folder):
    rows = read_labelled("regress", folder / "pairs.csv", None)
    found = measure("regress", Regress(), None, rows, of([[4.0], [2.0]]))
    figures, predicted = found.figures, found.rows
    assert figures["regress/pearson"] == pytest.approx(1)
    assert predicted[0] == {"texts": ["an", "nab"], "label": 4.5, "predicted": 4.0}
    rows = read_labelled("choice", folder / "copa.jsonl", None)
    assert [len(row.texts) for row in rows] == [3, 4]
    found = measure("choice", Choice(), None, rows, of([[0, 1, -1e30], [2, 0, 1]]))
    figures, predicted = found.figures, found.rows
    assert figures == {"choice/accuracy": 1.0, "choice/rows": 2}
    assert predicted[0]["predicted"] == 1 and len(predicted[0]["probabilities"]) == 2


@pytest.mark.parametrize(
    ("task", "name", "line"),
    [
        ("classify", "own.jsonl", r"own\.jsonl: has fields review, stars; expected sentence1, sentence2 or "),
        ("similarity", "plain.tsv", r"plain\.tsv:1: 2 columns without a known header; expected two texts and a score"),
        ("classify", "one.csv", r"one\.csv:1: 1 columns without a known header; expected a text or two, and a label"),
        ("classify", "cola.tsv", r"cola\.tsv:1: 4 columns without a known header"),
        ("classify", "empty.csv", r"empty\.csv: holds no rows"),
        ("classify", "odd.tsv", r"odd\.tsv:2: label 'ugly' is none of the training rows'.*known: bad, good"),
        ("regress", "words.csv", r"words\.csv:1: label 'often' is no number"),
        ("choice", "short.jsonl", r"short\.jsonl:1: 1 candidate; expected two or more"),
        ("choice", "beyond.csv", r"beyond\.csv:1: label '2' is no place of one of 2 candidates; expected 0 to 1"),
    ],
)
def test_what_cannot_be_is_one_line(task, name, line, folder):
    objective = {"classify": Classify, "regress": Regress, "similarity": Regress, "choice": Choice}[task]()

    def nothing(rows):
        raise AssertionError("no model is asked")

    with pytest.raises(ConfigError, match=line) as caught:
        measure(task, objective, LABELS, read_labelled(task, folder / name, None), nothing)
    assert len(caught.value.problems) == 1
