"""Rows of texts out of one file: pairs, triples, scored pairs.

Errors are one line each and name the file and the row, as its format counts them.
"""

import json
import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean, listed, quote, short
from jaxgpt.text.corpora.formats import Format, Record, endings, format_of
from jaxgpt.text.corpora.utf8 import without_surrogates

SCORED = (("sentence1", "sentence2", "score"), ("text1", "text2", "score"))
"""Names under which scored pairs are found."""
Row = tuple[str, tuple[str, ...]]
"""Where it stands, and its texts."""


class ScoredPairs(NamedTuple):
    """Pairs of texts and how alike people found them, float64 (N,), on any scale."""

    first: list[str]
    second: list[str]
    scores: np.ndarray


def read_columns(path: Path, names: Sequence[str] | None = None, count: int | None = None) -> list[tuple[str, ...]]:
    """The texts of each row under `names`, which a header or the fields of records hold; else of the first `count`
    columns, or of all, in a file without header. A number counts as it is written.

    Raises ConfigError for a missing column, an empty text, a row of another length, and what is not UTF-8.
    """
    return [row for _, row in _rows(path, names, count)]


def find_names(path: Path, known: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """The longest of `known` that the first row has all names of. None: there is no such header, and columns go by
    their place. Raises ConfigError for named fields without any, and for a file without rows."""
    form = _format(path)
    if form.one_column:
        return None
    fields = _first(path, form.records(path)).fields
    given = {*fields} if form.named else {cell.strip() for cell in fields.values()}
    for names in sorted(known, key=len, reverse=True):
        if given.issuperset(names):
            return tuple(names)
    if form.named:
        wanted = " or ".join(", ".join(names) for names in known)
        raise ConfigError(f"{path}: has fields {listed(fields)}; expected {wanted}")
    return None


def scored_pairs(path: Path) -> ScoredPairs:
    """A file of semantic similarity: columns or fields named as in SCORED, or three columns without a header.

    Raises ConfigError as `read_columns` does, and for a score that is no finite number.
    """
    first, second, scores = [], [], []
    for where, (text, other, score) in _rows(path, find_names(path, SCORED), 3):
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(f"{where}: score {quote(score, 40)} is no number; expected text, text, score")
        first.append(text)
        second.append(other)
        scores.append(value)
    return ScoredPairs(first, second, np.array(scores))


def _rows(path: Path, names: Sequence[str] | None, count: int | None) -> Iterator[Row]:
    form = _format(path)
    if form.one_column and (names or (count or 1) > 1):
        raise ConfigError(f"{path}: plain text has one column, without a name; use .csv, .tsv or .jsonl")
    if form.named and not names:
        raise ConfigError(f"{path}: its fields go by name; say which ones to read")
    records = form.records(path, names)
    first = _first(path, records)
    if not names and len(first.fields) < (count or 1):
        raise ConfigError(f"{first.where}: {len(first.fields)} columns, expected {count}")
    wanted = names or list(first.fields)[:count]
    for record in chain([first], records):
        row = tuple(_field(record, name) for name in wanted)
        for column, text in enumerate(row):
            if not text.strip():
                label = f"'{names[column]}'" if names else column + 1
                raise ConfigError(f"{record.where}: column {label} is empty; fill it, or leave the row out")
        yield record.where, row


def _format(path: Path) -> Format:
    form = format_of(path)
    if form is None:
        raise ConfigError(f"{path}: expected a file that ends in {endings()}")
    return form


def _field(record: Record, name: str) -> str:
    if name not in record.fields:
        raise ConfigError(f"{record.where}: no field '{name}'{did_you_mean(name, short(record.fields))}")
    value = record.fields[name]
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    shown = json.dumps(value) if value is None or isinstance(value, bool) else f"a {type(value).__name__}"
    raise ConfigError(f"{record.where}: field '{name}' is {shown}, expected text or a number")


def _first(path: Path, records: Iterator[Record]) -> Record:
    first = next(records, None)
    if first is None:
        raise ConfigError(f"{path}: holds no rows")
    return first
