"""Every format: documents, columns and scored pairs are its records; what is damaged is one line with its name."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.text.corpora.columns import find_names, read_columns, scored_pairs
from jaxgpt.text.corpora.formats import Format, format_of
from jaxgpt.text.corpora.named import open_corpus

SEAM = "format"
NAMES = ("text1", "text2", "score")
ROWS = [("naïve café", "日本 語", "4.5"), ("one, two", 'he said "no"', "0"), ("three", "four\u2028five", "1.25")]
BLOCKS = ("context", "rest", "choices", "gold")
ASKED = [("naïve café", "日本 語", ["a", "b"], "a"), ("one, two", 'he said "no"', ["b"], "b"), ("3", ".", ["c"], "c")]


def table(path, **how):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n", **how).writerows([NAMES, *ROWS])


def senteval(path):
    path.write_text("".join(f"{first}\t{second}\n" for first, second, _ in ROWS), encoding="utf-8")
    path.with_name(path.name.replace("input", "gs")).write_text("".join(f"{score}\n" for *_, score in ROWS))


def book_test(path):
    blocks = (f"1 {before}\n2 XXXXX{rest}\t{gold}\t\t{'|'.join(words)}\n" for before, rest, words, gold in ASKED)
    path.write_text("\n".join(blocks), encoding="utf-8")


WRITE = {
    "csv": table,
    "tsv": lambda path: table(path, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None),
    "txt": lambda path: path.write_text("".join(f"{first}\n\n" for first, *_ in ROWS), encoding="utf-8"),
    "jsonl": lambda path: path.write_text("\n".join(json.dumps(dict(zip(NAMES, row, strict=True))) for row in ROWS)),
    "parquet": lambda path: pq.write_table(pa.table(dict(zip(NAMES, zip(*ROWS, strict=True), strict=True))), path),
    "senteval": senteval,
    "book_test": book_test,
}


@pytest.fixture
def names(member):
    return {"book_test": BLOCKS}.get(member.kind, NAMES)


@pytest.fixture
def rows(member):
    return {"book_test": ASKED}.get(member.kind, ROWS)


@pytest.fixture
def file(member: Format, by_kind, tmp_path) -> Path:
    path = tmp_path / f"{member.prefix}rows{member.suffixes[0]}"
    by_kind(WRITE)(path)
    return path


def test_a_files_name_tells_its_format_in_any_case_of_the_letters(member, file):
    assert format_of(file) == format_of(file.with_name(file.name.upper())) == member
    assert format_of(file.with_name(file.name + "x")) is None


def test_records_come_in_order_with_their_place(member, file, names, rows):
    records = list(member.records(file, None if member.one_column else names))
    want = [row[:1] for row in rows] if member.one_column else rows
    assert [tuple(record.fields.values()) for record in records] == want
    places = [record.where.removeprefix(str(file)) for record in records]
    assert all(place.startswith(":") for place in places) and len({*places}) == len(rows)
    shares = [record.share for record in records]
    assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
    assert not member.documents or shares[-1] == 1


def test_columns_and_scored_pairs_are_its_records(member, file, names, rows):
    if member.one_column:
        assert read_columns(file) == [row[:1] for row in rows]
        return
    assert find_names(file, (names[:2], names)) == names
    assert read_columns(file, (names[1], names[0])) == [(second, first) for first, second, *_ in rows]
    if "score" not in names:
        return
    first, second, scores = scored_pairs(file)
    assert (first, second) == ([row[0] for row in rows], [row[1] for row in rows])
    assert scores.tolist() == [float(row[2]) for row in rows]


def test_documents_are_its_records_or_the_text_as_it_stands(member, file, rows):
    texts = [document.text for document in open_corpus(str(file), "text1", 0).documents()]
    assert texts == ([row[0] for row in rows] if member.documents else [file.read_text(encoding="utf-8")])


def test_what_is_damaged_is_one_line_that_names_the_file(member, file, names):
    whole = file.read_bytes()
    for raw in (whole[:-7] + b"\xff", b"\xff\xfe\0" + whole, b"\0\xc3\x28"):
        file.write_bytes(raw)
        with pytest.raises(ConfigError, match=str(file)) as caught:
            read_columns(file, None if member.one_column else names[:2])
        assert len(str(caught.value).splitlines()) == 1
    file.unlink()
    with pytest.raises(JaxgptError, match=f"{file}: cannot be read: No such file"):
        read_columns(file, None if member.one_column else names[:2])
