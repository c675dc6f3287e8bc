"""Tables of text: cells between commas or tabs, with a header or without."""

import csv
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean, short
from jaxgpt.text.corpora.formats.format import Format, Record
from jaxgpt.text.corpora.utf8 import lines

LONGEST_CELL = 2**31 - 1
"""Characters."""


class Table(Format):
    """Rows of cells, as many in each; as a document, the text as it stands."""

    documents = named = False
    hint: ClassVar[str]
    """What mends a row of another length."""

    @abstractmethod
    def reader(self, texts: Iterable[str]) -> Any:
        """What the standard library reads the lines with."""

    def records(self, path: Path, names: Sequence[str] | None = None) -> Iterator[Record]:
        """A record a row, its cells by the header or counted from 1; empty lines are skipped."""
        rows = self._rows(path)
        number, first = next(rows, (0, []))
        if not first:
            return
        if names:
            columns = {name: self._column(first, name, f"{path}:{number}") for name in names}
        else:
            columns = {str(i + 1): i for i in range(len(first))}
            rows = chain([(number, first)], rows)
        for number, cells in rows:
            where = f"{path}:{number}"
            if len(cells) != len(first):
                raise ConfigError(f"{where}: {len(cells)} columns where the first row has {len(first)}; {self.hint}")
            yield Record({name: cells[i] for name, i in columns.items()}, where)

    def _column(self, first: Sequence[str], name: str, where: str) -> int:
        header = [cell.strip() for cell in first]
        if name not in header:
            raise ConfigError(f"{where}: no column '{name}'{did_you_mean(name, short(header))}")
        if header.count(name) > 1:
            raise ConfigError(f"{where}: column '{name}' comes more than once; rename one")
        return header.index(name)

    def _rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """Cells, with the number of the line on which they begin."""
        reader = self.reader(line for _, _, line in lines(path))
        csv.field_size_limit(LONGEST_CELL)  # of the whole process; its default of 131,072 refuses sound files
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                ends = "end lines with \\n" if "new-line" in str(error) else ""
                raise ConfigError(
                    f"{path}:{number}: {error}; {ends or 'close quotes, and double those within a cell'}"
                ) from None
            if cells is None:
                return
            if cells:
                yield number, cells


class CSV(Table, kind="csv"):
    """Cells between commas, in quotes where they hold commas or ends of lines."""

    suffixes = (".csv",)
    hint = "quote cells that hold commas"

    def reader(self, texts: Iterable[str]) -> Any:
        """Reads cells between commas, strict about quotes."""
        return csv.reader(texts, strict=True)


class TSV(Table, kind="tsv"):
    """Cells between tabs; quotes mean nothing."""

    suffixes = (".tsv",)
    hint = "a cell holds no tab"

    def reader(self, texts: Iterable[str]) -> Any:
        """Reads cells between tabs, to which quotes are letters."""
        return csv.reader(texts, delimiter="\t", quoting=csv.QUOTE_NONE)
