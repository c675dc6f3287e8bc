"""Documents out of one file: plain text, JSON lines, parquet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgpt.spec import ConfigError
from jaxgpt.text.codec import first_line

RECORD_SUFFIXES = frozenset({".jsonl", ".parquet"})
"""Files of many documents; a file with any other suffix is one document of plain text."""


def read_text(path: Path, lossy: bool = False) -> str:
    """The file as UTF-8, newlines untouched. Raises ConfigError at the first bad byte unless `lossy` replaces it."""
    try:
        return path.read_bytes().decode("utf-8", "replace" if lossy else "strict")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 at byte {error.start}; convert it, or leave it out of the corpus"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def read_records(path: Path, text_field: str) -> Iterator[tuple[str, float]]:
    """`(text, share of the file read so far)` for each record. Raises ConfigError with the place of a bad one."""
    return _parquet(path, text_field) if path.suffix == ".parquet" else _json_lines(path, text_field)


def text_of(record: Any, text_field: str, where: str) -> str:
    """The record's text. Raises ConfigError naming `where` when the field is absent or no string."""
    if not isinstance(record, dict) or text_field not in record:
        has = ", ".join(map(str, record)) if isinstance(record, dict) else type(record).__name__
        raise ConfigError(f"{where}: no field '{text_field}'; it has {has}; set data.text_field")
    if not isinstance(record[text_field], str):
        raise ConfigError(f"{where}: field '{text_field}' is {type(record[text_field]).__name__}, expected a string")
    return record[text_field]


def _json_lines(path: Path, text_field: str) -> Iterator[tuple[str, float]]:
    size, read = path.stat().st_size, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            read += len(line)
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                raise ConfigError(f"{path}:{number}: not a JSON object; expected one a line") from None
            yield text_of(record, text_field, f"{path}:{number}"), read / size


def _parquet(path: Path, text_field: str) -> Iterator[tuple[str, float]]:
    try:
        import pyarrow
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(f"{path}: reading parquet needs pyarrow; pip install 'jaxgpt[hf]'") from None
    try:
        with pq.ParquetFile(path) as file:
            if text_field not in file.schema_arrow.names:
                has = ", ".join(file.schema_arrow.names)
                raise ConfigError(f"{path}: no field '{text_field}'; it has {has}; set data.text_field")
            row = 0
            for batch in file.iter_batches(batch_size=1024, columns=[text_field]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    yield text_of({text_field: value}, text_field, f"{path}: row {row}"), row / file.metadata.num_rows
    except pyarrow.ArrowException as error:
        raise ConfigError(f"{path}: not a readable parquet file: {first_line(error)}") from None
