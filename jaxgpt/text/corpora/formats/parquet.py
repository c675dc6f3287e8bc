"""Parquet files (extra `hf`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import first_line, listed, quote
from jaxgpt.text.corpora.formats.format import Format, Record
from jaxgpt.text.corpora.utf8 import open_regular

ROWS = 1024
"""Read at a time."""


class Parquet(Format):
    """Columns by name; only those that are wanted are read."""

    suffixes = (".parquet",)

    def records(self, path: Path, names: Sequence[str] | None = None) -> Iterator[Record]:
        """A record a row of the table, counted from 1, with the fields `names` alone."""
        try:
            import pyarrow
            import pyarrow.parquet as pq
        except ImportError:
            raise ConfigError(f"{path}: reading parquet needs pyarrow; pip install 'jaxgpt[hf]'") from None
        with open_regular(path):  # what is no file, or stands in for one, is told as such
            pass
        try:
            with pq.ParquetFile(path) as file:
                has, total, row = file.schema_arrow.names, file.metadata.num_rows, 0
                for name in names or ():
                    if name not in has:
                        raise ConfigError(f"{path}: no field {quote(name)}; it has {listed(has)}; set data.text_field")
                for batch in file.iter_batches(batch_size=ROWS, columns=list(names or has)):
                    for fields in batch.to_pylist():
                        row += 1
                        yield Record(fields, f"{path}: row {row}", row / total)
        except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
            raise ConfigError(f"{path}: not a readable parquet file: {first_line(error)}") from None
