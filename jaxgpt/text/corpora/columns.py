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


class TextRow(NamedTuple):
    """A row of a file."""

    where: str
    """Its file and line or row, as errors name it."""
    texts: tuple[str, ...]
    label: str = ""
    """As it is written, without white space around it, a truth value `true` or `false`; empty where none is read."""


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
    return [row.texts for row in text_rows(path, names, count)]


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


def first_fields(path: Path) -> tuple[list[str], bool]:
    """The names of a file's fields, or of a table the cells of its first row, which may be a header; and whether they
    are names. Raises ConfigError for plain text, which has one column, and for a file without rows."""
    form = _format(path)
    if form.one_column:
        raise ConfigError(f"{path}: plain text has one column, without a name; use .csv, .tsv or .jsonl")
    fields = _first(path, form.records(path)).fields
    return list(fields) if form.named else [cell.strip() for cell in fields.values()], form.named


def scored_pairs(path: Path) -> ScoredPairs:
    """A file of semantic similarity: columns or fields named as in SCORED, or three columns without a header.

    Raises ConfigError as `read_columns` does, and for a score that is no finite number.
    """
    first, second, scores = [], [], []
    for where, (text, other, score), _ in text_rows(path, find_names(path, SCORED), 3):
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


def text_rows(
    path: Path,
    names: Sequence[str] | None = None,
    count: int | None = None,
    label: str | None = None,
    spread: bool = False,
) -> Iterator[TextRow]:
    """The rows of a file, their texts as `read_columns` finds them, and their labels in the column or field `label`.

    Of a table all names can be numbers of columns, from 1: then it has no header. `spread`: fields but the first may
    hold a list, of which every text is one of the row's. Raises ConfigError as `read_columns` does.
    """
    form = _format(path)
    if form.one_column and (names or (count or 1) > 1 or label is not None):
        raise ConfigError(f"{path}: plain text has one column, without a name; use .csv, .tsv or .jsonl")
    if form.named and not names:
        raise ConfigError(f"{path}: its fields go by name; say which ones to read")
    wanted = None if names is None else [*names, *([] if label is None else [label])]
    by_number = not form.named and wanted is not None and all(name.isascii() and name.isdigit() for name in wanted)
    records = form.records(path, None if by_number else wanted)
    first = _first(path, records)
    if not names and len(first.fields) < (count or 1):
        raise ConfigError(f"{first.where}: {len(first.fields)} columns, expected {count}")
    if not form.named and (by_number or wanted is None):
        missing = [name for name in (*(names or ()), label) if name is not None and name not in first.fields]
        if missing:
            raise ConfigError(f"{first.where}: no column {missing[0]} in a row of {len(first.fields)}")
    columns = names or list(first.fields)[:count]
    for record in chain([first], records):
        texts = [text for i, name in enumerate(columns) for text in texts_of(record, name, spread and i > 0)]
        yield TextRow(record.where, tuple(texts), "" if label is None else label_of(record, label))


def texts_of(record: Record, name: str, spread: bool) -> list[str]:
    """What stands in a column or field: a text, or where `spread` the texts of a list."""
    value = record.fields.get(name)
    if spread and isinstance(value, list):
        items = Record({f"{name}[{i}]": item for i, item in enumerate(value)}, record.where)
        return [text_of(items, item) for item in items.fields]
    return [text_of(record, name)]


def text_of(record: Record, name: str) -> str:
    """The text in a column or field. Raises ConfigError for an empty one, and for what is none."""
    text = _field(record, name)
    if not text.strip():
        column = name if name.isdigit() else f"'{name}'"
        raise ConfigError(f"{record.where}: column {column} is empty; fill it, or leave the row out")
    return text


def label_of(record: Record, name: str) -> str:
    """A label as it is written, without white space around it; a truth value is `true` or `false`."""
    value = record.fields.get(name)
    return json.dumps(value) if isinstance(value, bool) else text_of(record, name).strip()


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
    hint = "; only an objective that chooses among candidates reads a list" if isinstance(value, list) else ""
    raise ConfigError(f"{record.where}: field '{name}' is {shown}, expected text or a number{hint}")


def _first(path: Path, records: Iterator[Record]) -> Record:
    first = next(records, None)
    if first is None:
        raise ConfigError(f"{path}: holds no rows")
    return first
