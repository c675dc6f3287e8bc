"""Documents out of one file: plain text, JSON lines, parquet."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text.corpora.utf8 import decoded, lines, open_regular, unmarked
from jaxgpt.text.tokenizers.codec import first_line

RECORD_SUFFIXES = frozenset({".jsonl", ".parquet"})
"""Files of many documents; a file with any other suffix is one document of plain text."""


def read_text(path: Path, lossy: bool = False) -> str:
    """The file as UTF-8 without its byte order mark, newlines untouched. Raises ConfigError at the first bad byte.

    `lossy` keeps the mark, and replaces bad bytes.
    """
    with open_regular(path) as file:
        raw = file.read()
    if lossy:
        return raw.decode("utf-8", "replace")
    start = len(raw) - len(unmarked(raw))
    return decoded(unmarked(raw), path, start)


def has_records(path: Path) -> bool:
    """Whether a file holds many documents, by the end of its name."""
    return path.suffix.lower() in RECORD_SUFFIXES


def read_records(path: Path, text_field: str) -> Iterator[tuple[str, float]]:
    """`(text, share of the file read so far)` for each record. Raises ConfigError with the place of a bad one."""
    parquet = path.suffix.lower() == ".parquet"
    return _parquet(path, text_field) if parquet else _json_lines(path, text_field)


def text_of(record: Any, text_field: str, where: str) -> str:
    """The record's text, `?` for each lone surrogate. Raises ConfigError naming `where` when the field is absent or no
    string."""
    if not isinstance(record, dict) or text_field not in record:
        has = listed(record) if isinstance(record, dict) else type(record).__name__
        raise ConfigError(f"{where}: no field {quote(text_field)}; it has {has}; set data.text_field")
    if not isinstance(record[text_field], str):
        kind = type(record[text_field]).__name__
        raise ConfigError(f"{where}: field {quote(text_field)} is {kind}, expected a string")
    return without_surrogates(record[text_field])


def sound(text: str) -> bool:
    """Whether a text has no half of a surrogate pair."""
    return without_surrogates(text) == text


def without_surrogates(text: str) -> str:
    """`text`, with `?` for each half of a surrogate pair, which JSON can spell and no encoding can carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def listed(names: Iterable[object], most: int = 8) -> str:
    """The first names of a stranger's file, as an error line shows them."""
    shown = [quote(str(name), 32)[1:-1] for name in islice(names, most + 1)]
    return ", ".join(shown[:most] + ["..."] * (len(shown) > most))


def json_object(line: str, where: str, **options: Any) -> dict[str, Any]:
    """The object that a line holds; `options` go to `json.loads`. Raises ConfigError naming `where`."""
    try:
        record = json.loads(line, **options)
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = quote(str(error), 100)[1:-1]
    else:
        if isinstance(record, dict):
            return record
        reason = f"a JSON {type(record).__name__}"
    raise ConfigError(f"{where}: not a JSON object: {reason}; expected one a line")


def _json_lines(path: Path, text_field: str) -> Iterator[tuple[str, float]]:
    size = max(path.stat().st_size, 1)
    for number, end, line in lines(path):
        if line.strip():
            where = f"{path}:{number}"
            yield text_of(json_object(line, where), text_field, where), min(end / size, 1.0)


def _parquet(path: Path, text_field: str) -> Iterator[tuple[str, float]]:
    try:
        import pyarrow
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(f"{path}: reading parquet needs pyarrow; pip install 'jaxgpt[hf]'") from None
    with open_regular(path):  # what is no file, or stands in for one, is told as such
        pass
    try:
        with pq.ParquetFile(path) as file:
            if text_field not in file.schema_arrow.names:
                has = listed(file.schema_arrow.names)
                raise ConfigError(f"{path}: no field {quote(text_field)}; it has {has}; set data.text_field")
            row = 0
            for batch in file.iter_batches(batch_size=1024, columns=[text_field]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    yield text_of({text_field: value}, text_field, f"{path}: row {row}"), row / file.metadata.num_rows
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        raise ConfigError(f"{path}: not a readable parquet file: {first_line(error)}") from None
