"""Rows of texts from four kinds of file; whatever is wrong with one is a line that names the file and its row."""

import json
import os
import re

import numpy as np
import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.columns import SCORED, find_names, read_columns, scored_pairs

ROWS = [("a man, two dogs", 'he said "no"', "a third"), ("naïve café", "日本 語", "x"), ("one", "two", "three")]
NAMES = ("sent0", "sent1", "hard_neg")


@pytest.fixture
def write(tmp_path):
    """`write("a.csv", text)`: its path."""

    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def csv_text(rows):
    return "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n" for row in rows)


def tsv_text(rows):
    return "".join("\t".join(row) + "\n" for row in rows)


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_a_table_with_and_without_a_header(write, form):
    text = {"csv": csv_text, "tsv": tsv_text}[form]
    bare, headed = write(f"bare.{form}", text(ROWS)), write(f"headed.{form}", "\ufeff" + text([NAMES, *ROWS]))
    assert read_columns(bare) == read_columns(bare, count=3) == read_columns(headed, NAMES) == ROWS
    assert read_columns(bare, count=2) == [row[:2] for row in ROWS]
    assert read_columns(headed, ("hard_neg", "sent0")) == [(row[2], row[0]) for row in ROWS]
    assert find_names(headed, (NAMES[:2], NAMES)) == NAMES and find_names(bare, (NAMES,)) is None


def test_json_lines_by_name_in_any_order_with_numbers_as_written(write):
    path = write(
        "a.jsonl", '{"b": "two", "a": "one", "n": 2.50}\n\n{"a": "ü", "b": "\\u00fc", "n": -1e3, "more": []}\n'
    )
    assert read_columns(path, ("a", "b", "n")) == [("one", "two", "2.50"), ("ü", "ü", "-1e3")]


def test_plain_text_is_a_sentence_a_line(write):
    path = write("a.txt", "one, two\r\n\n  \nthree\u2028four\x0bfive")
    assert read_columns(path) == [("one, two",), ("three\u2028four\x0bfive",)]
    assert find_names(path, (("text",),)) is None


def test_a_quoted_cell_may_span_lines_and_rows_count_in_lines(write):
    path = write("a.csv", 'a,"b\nb"\n\nc,d\ne\n')
    with pytest.raises(ConfigError, match=re.escape(f"{path}:5: 1 columns where the first row has 2; quote cells")):
        read_columns(path)


def test_quotes_mean_nothing_between_tabs(write):
    assert read_columns(write("a.tsv", '"a\tb\nc"\t"d"\n')) == [('"a', "b"), ('c"', '"d"')]


@pytest.mark.parametrize(
    ("name", "content", "options", "line"),
    [
        ("a.csv", "sent0,sent1\na,b\n", {"names": ["sent0", "sent2"]}, ":1: no column 'sent2'; did you mean 'sent"),
        ("a.csv", "a,b\nc,d\n", {"count": 3}, ":1: 2 columns, expected 3"),
        (
            "a.csv",
            "a,b\nc,d,e\n",
            {"count": 2},
            ":2: 3 columns where the first row has 2; quote cells that hold commas",
        ),
        ("a.tsv", "a\tb\nc\n", {}, ":2: 1 columns where the first row has 2; a cell holds no tab"),
        ("a.csv", "a,b\nc, \n", {}, ":2: column 2 is empty; fill it, or leave the row out"),
        ("a.csv", "x,y\nc,d\n,e\n", {"names": ["y", "x"]}, ":3: column 'x' is empty"),
        ("a.csv", 'a,b\nc,"d\ne,f\n', {}, ":2: unexpected end of data"),
        ("a.csv", 'a,b\n"c"x,d\n', {}, ":2: ',' expected after '\"'"),
        ("a.csv", b"a,b\nc,\xe9\n", {}, ":2: not UTF-8 at byte 6; convert it"),
        ("a.txt", "a\nb".encode("utf-16"), {}, ":1: not UTF-8 at byte 0, but UTF-16; convert it (iconv -f UTF-16"),
        ("a.csv", "", {}, ": holds no rows"),
        ("a.csv", "x,y\n", {"names": ["x"]}, ": holds no rows"),
        ("a.txt", "\n \n", {}, ": holds no rows"),
        ("a.txt", "a\n", {"names": ["text"]}, ": plain text has one column, without a name"),
        ("a.txt", "a\n", {"count": 2}, ": plain text has one column, without a name"),
        ("a.jsonl", '{"a": "b"}\n', {"count": 1}, ": its fields go by name; say which"),
        ("a.jsonl", '{"a": "b"}\n{"b": "c"}\n', {"names": ["a"]}, ":2: no field 'a'"),
        ("a.jsonl", '{"a": "b"}\n{"a": null}\n', {"names": ["a"]}, ":2: field 'a' is null, expected text or a number"),
        ("a.jsonl", '{"a": "b"}\n["a"]\n', {"names": ["a"]}, ":2: not a JSON object"),
        ("a.jsonl", '\n{"a": "b"\n', {"names": ["a"]}, ":2: not a JSON object"),
        ("a.jsonl", "[" * 100_000 + "\n", {"names": ["a"]}, ":1: not a JSON object"),
        ("a.jsonl", '{"a": "b"}\n{"a": [1]}\n', {"names": ["a"]}, ":2: field 'a' is a list, expected text"),
        ("a.jsonl", '{"a": "b"}\n{"a": "\xe9"}\n'.encode("latin-1"), {"names": ["a"]}, ":2: not UTF-8 at byte 18"),
        ("a.csv", "a,b\rc,d\r", {}, ":1: new-line character seen in unquoted field"),
        ("a.csv", "a,a\nb,c\n", {"names": ["a"]}, ":1: column 'a' comes more than once; rename one"),
        ("a.csv", f"{'x' * 10**6},y\n", {"names": ["z"]}, ":1: no column 'z'"),
        ("a.json", "[]", {}, ": expected a file that ends in .csv, .jsonl, .parquet, .tsv, .txt, STS.input.*.txt"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_row(write, name, content, options, line):
    path = write(name, content)
    with pytest.raises(ConfigError) as caught:
        read_columns(path, **options)
    assert str(caught.value).startswith(f"{path}{line}") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "txt"])
def test_odd_but_sound_text_is_read_as_it_is(write, form):
    long, odd = "word " * 100_000, "a\0b \x1b[1m \u2028\x85 \u202e"
    texts = (long, odd)
    lines = {
        "csv": csv_text([texts]),
        "tsv": tsv_text([texts]),
        "jsonl": json.dumps({"a": long, "b": odd}) + "\r\n",
        "txt": f"{long}\r\n\r\n{odd}\n",
    }[form]
    path = write(f"a.{form.upper()}", b"\xef\xbb\xbf" + lines.encode())
    rows = read_columns(path, ["a", "b"] if form == "jsonl" else None)
    assert rows == ([(long,), (odd,)] if form == "txt" else [texts])


def test_half_a_surrogate_pair_becomes_a_question_mark(write):
    assert read_columns(write("a.jsonl", '{"a": "x\\ud800y"}\n'), ["a"]) == [("x?y",)]


def test_a_pipe_is_said_to_be_one(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(ConfigError, match=r"a\.csv: is a pipe; give a file"):
        read_columns(tmp_path / "a.csv")


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name, why in (("absent.csv", "No such file"), ("folder.csv", "Is a directory")):
        with pytest.raises(ConfigError, match=f"{name}: cannot be read: {why}"):
            read_columns(tmp_path / name)


def test_scored_pairs_are_the_same_from_every_form(write):
    rows = [("a, b", "c", "5.0"), ("d", 'e "f"', "0.25")]
    header = ("genre", "score", "sentence2", "sentence1")
    forms = {
        "bare.csv": csv_text(rows),
        "bare.tsv": tsv_text(rows),
        "headed.csv": csv_text([header, *(("x", s, b, a) for a, b, s in rows)]),
        "a.jsonl": "\n".join(json.dumps(dict(zip(SCORED[0], (a, b, float(s)), strict=True))) for a, b, s in rows),
        "b.jsonl": "\n".join(json.dumps(dict(zip(SCORED[1], row, strict=True))) for row in rows),
    }
    for name, text in forms.items():
        first, second, scores = scored_pairs(write(name, text))
        assert (first, second) == (["a, b", "d"], ["c", 'e "f"'])
        assert scores.dtype == np.float64 and scores.tolist() == [5.0, 0.25]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", "a,b,1\nc,d,high\n", ":2: score 'high' is no number; expected text, text, score"),
        ("a.csv", "a,b,1\nc,d,nan\n", ":2: score 'nan' is no number"),
        ("a.csv", "a,b\n", ":1: 2 columns, expected 3"),
        ("a.csv", "one,two,score\na,b,1\n", ":1: score 'score' is no number"),
        ("a.jsonl", '{"sentence1": "a", "sentence2": "b", "score": true}', ":1: field 'score' is true"),
        ("a.jsonl", '{"one": "a"}', ": has fields one; expected sentence1, sentence2, score or text1, text2, score"),
        ("a.jsonl", "", ": holds no rows"),
        ("a.txt", "a\n", ": plain text has one column"),
    ],
)
def test_bad_scored_pairs_are_one_line(write, name, content, line):
    path = write(name, content)
    with pytest.raises(ConfigError) as caught:
        scored_pairs(path)
    assert str(caught.value).startswith(f"{path}{line}") and "\n" not in str(caught.value)
