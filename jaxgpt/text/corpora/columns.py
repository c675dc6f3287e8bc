"""Rows of texts out of one file: pairs, triples, scored pairs. CSV, tab-separated, JSON lines, a sentence a line.

Errors are one line each and name `file:row`, counted in lines from 1, as editors do.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.text.corpora.records import json_object, listed, without_surrogates
from jaxgpt.text.corpora.utf8 import lines

SUFFIXES = (".csv", ".tsv", ".jsonl", ".txt")
LONGEST_CELL = 2**31 - 1
"""Characters."""
SCORED = (("sentence1", "sentence2", "score"), ("text1", "text2", "score"))
"""Names under which scored pairs are found."""
Row = tuple[int, tuple[str, ...]]
"""The number of its line, and its texts."""


class ScoredPairs(NamedTuple):
    """Pairs of texts and how alike people found them, float64 (N,), on any scale."""

    first: list[str]
    second: list[str]
    scores: np.ndarray


def read_columns(path: Path, names: Sequence[str] | None = None, count: int | None = None) -> list[tuple[str, ...]]:
    """The texts of each row under `names`, which a header or JSON's fields hold; else of the first `count` columns, or
    of all, in a file without header. Blank lines are skipped; a number in JSON counts as it is written.

    Raises ConfigError for a missing column, an empty text, a row of another length, and what is not UTF-8.
    """
    return [row for _, row in _rows(path, names, count)]


def find_names(path: Path, known: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """The longest of `known` that the first row has all names of. None: there is no such header, and columns go by
    their place. Raises ConfigError for JSON lines without any, and for a file without rows."""
    if path.suffix.lower() == ".txt":
        return None
    jsonl = path.suffix.lower() == ".jsonl"
    _, first = _first(path, _records(path) if jsonl else _cells(path))
    for names in sorted(known, key=len, reverse=True):
        if set(names) <= {name.strip() for name in first}:
            return tuple(names)
    if jsonl:
        wanted = " or ".join(", ".join(names) for names in known)
        raise ConfigError(f"{path}: has fields {listed(first)}; expected {wanted}")
    return None


def scored_pairs(path: Path) -> ScoredPairs:
    """A file of semantic similarity: columns or fields named as in SCORED, or three columns without a header.

    Raises ConfigError as `read_columns` does, and for a score that is no finite number.
    """
    first, second, scores = [], [], []
    for number, (one, two, score) in _rows(path, find_names(path, SCORED), 3):
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(f"{path}:{number}: score {quote(score, 40)} is no number; expected text, text, score")
        first.append(one)
        second.append(two)
        scores.append(value)
    return ScoredPairs(first, second, np.array(scores))


def _rows(path: Path, names: Sequence[str] | None, count: int | None) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        if names or (count or 1) > 1:
            raise ConfigError(f"{path}: plain text has one column, without a name; use .csv, .tsv or .jsonl")
        rows: Iterator[Row] = ((number, (line.rstrip("\r\n"),)) for number, line in _lines(path) if line.strip())
    elif suffix == ".jsonl":
        if not names:
            raise ConfigError(f"{path}: JSON's fields go by name; say which ones to read")
        rows = (
            (number, tuple(_field(record, name, path, number) for name in names)) for number, record in _records(path)
        )
    else:
        rows = _table(path, names, count)
    for number, row in chain([_first(path, rows)], rows):
        for column, text in enumerate(row):
            if not text.strip():
                label = f"'{names[column]}'" if names else column + 1
                raise ConfigError(f"{path}:{number}: column {label} is empty; fill it, or leave the row out")
        yield number, row


def _table(path: Path, names: Sequence[str] | None, count: int | None) -> Iterator[Row]:
    rows = _cells(path)
    number, first = _first(path, rows)
    if names:
        header = [name.strip() for name in first]
        for name in names:
            if name not in header:
                raise ConfigError(f"{path}:{number}: no column '{name}'{did_you_mean(name, _short(header))}")
            if header.count(name) > 1:
                raise ConfigError(f"{path}:{number}: column '{name}' comes more than once; rename one")
        index = [header.index(name) for name in names]
    else:
        index = list(range(count or len(first)))
        if len(index) > len(first):
            raise ConfigError(f"{path}:{number}: {len(first)} columns, expected {len(index)}")
        rows = chain([(number, first)], rows)
    for number, cells in rows:
        if len(cells) != len(first):
            hint = "quote cells that hold commas" if path.suffix.lower() == ".csv" else "a cell holds no tab"
            raise ConfigError(f"{path}:{number}: {len(cells)} columns where the first row has {len(first)}; {hint}")
        yield number, tuple(cells[i] for i in index)


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    texts = (line for _, line in _lines(path))
    if path.suffix.lower() == ".tsv":
        reader = csv.reader(texts, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(texts, strict=True)
    csv.field_size_limit(LONGEST_CELL)  # of the whole process; its default of 131,072 refuses sound files
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            hint = "end lines with \\n" if "new-line" in str(error) else "close quotes, and double those within a cell"
            raise ConfigError(f"{path}:{number}: {error}; {hint}") from None
        if cells is None:
            return
        if cells:
            yield number, cells


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        if line.strip():
            as_written = {"parse_int": str, "parse_float": str, "parse_constant": str}
            yield number, json_object(line, f"{path}:{number}", **as_written)


def _field(record: dict[str, Any], name: str, path: Path, number: int) -> str:
    if name not in record:
        raise ConfigError(f"{path}:{number}: no field '{name}'{did_you_mean(name, _short(record))}")
    value = record[name]
    if not isinstance(value, str):
        shown = json.dumps(value) if value is None or isinstance(value, bool) else f"a JSON {type(value).__name__}"
        raise ConfigError(f"{path}:{number}: field '{name}' is {shown}, expected text or a number")
    return without_surrogates(value)


def _first(path: Path, rows: Iterator[Any]) -> Any:
    found = next(rows, None)
    if found is None:
        raise ConfigError(f"{path}: holds no rows")
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    for number, _, line in lines(path):
        yield number, line


def _short(names: Iterable[str]) -> list[str]:
    """Names of a stranger's file as an error line may hold them."""
    return [quote(name, 32)[1:-1] for name in islice(names, 20)]
