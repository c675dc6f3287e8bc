"""Retrieval by vectors laid out by hand: what is merged, what counts as an answer, and what is refused."""

import re

import numpy as np
import pytest

from jaxgpt.evals.retrieval import Searched, read_retrieval, retrieval
from jaxgpt.spec import ConfigError

ROWS = "q1,d1\nq2,d2\nq3,d1\nq1,d3\nq1,d1\n"


@pytest.fixture
def write(tmp_path):
    def make(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return make


def at(**degrees):
    """An encoder that lays each text at an angle, and sees each text once."""

    def encode(texts):
        assert len(set(texts)) == len(texts)
        angle = np.radians([degrees[text] for text in texts])
        return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)

    return encode


def test_equal_texts_are_one_query_and_one_document(write):
    data = read_retrieval(write("a.csv", ROWS))
    assert data == Searched(["q1", "q2", "q3"], ["d1", "d2", "d3"], [[0, 2], [1], [0]])


def test_the_figures_of_a_small_circle(write):
    encode = at(q1=0, q2=0, q3=50, d1=10, d2=40, d3=20)  # ranks: q1 finds d1 and d3 at 1 and 2, q2 d2 at 3, q3 d1 at 3
    figures = retrieval(encode, read_retrieval(write("a.csv", ROWS))).figures
    assert figures == pytest.approx(
        {
            "retrieval/recall@1": 0.5 / 3,
            "retrieval/recall@5": 1,
            "retrieval/recall@10": 1,
            "retrieval/mrr@10": (1 + 1 / 3 + 1 / 3) / 3,
            "retrieval/ndcg@10": (1 + 0.5 + 0.5) / 3,
            "retrieval/queries": 3,
            "retrieval/documents": 3,
        }
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "q1\td1\tn1\nq2\td2\td1\n"),
        ("a.csv", "query,document,negative\nq1,d1,n1\nq2,d2,d1\n"),
        ("b.csv", "id,hard_neg,sent1,sent0\n1,n1,d1,q1\n2,d1,d2,q2\n"),
        ("a.jsonl", '{"anchor":"q1","positive":"d1","negative":"n1"}\n{"anchor":"q2","positive":"d2","negative":"d1"}'),
    ],
)
def test_third_columns_only_distract(write, name, text):
    data = read_retrieval(write(name, text))
    assert data == Searched(["q1", "q2"], ["d1", "n1", "d2"], [[0], [2]])
    figures = retrieval(at(q1=0, n1=1, d1=2, d2=89, q2=90), data).figures
    assert figures["retrieval/recall@1"] == 0.5 and figures["retrieval/mrr@10"] == 0.75


def test_a_text_that_is_query_and_document_is_encoded_once(write):
    assert retrieval(at(a=0, b=1), read_retrieval(write("a.csv", "a,b\nb,a\n"))).figures["retrieval/mrr@10"] == 0.5


def test_vectors_all_alike_find_nothing():
    data = Searched(["q"], [f"d{i}" for i in range(100)], [[0]])
    figures = retrieval(lambda texts: np.full((len(texts), 7), 0.3, np.float32), data).figures
    assert figures["retrieval/recall@10"] == figures["retrieval/mrr@10"] == figures["retrieval/ndcg@10"] == 0


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.txt", "a\nb\n", ": one column; expected a query, a document, and any number of others"),
        ("a.csv", "a\n", ": one column; expected"),
        ("a.csv", "a,b\nc,\n", ":2: column 2 is empty"),
        ("a.jsonl", '{"q": "a"}\n', ": has fields q; expected query, document or query, document, negative or anchor"),
    ],
)
def test_bad_files_are_one_line(write, name, text, line):
    path = write(name, text)
    with pytest.raises(ConfigError, match=re.escape(f"{path}{line}")):
        read_retrieval(path)
