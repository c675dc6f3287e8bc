"""Plain text: one document, or a text a line."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxgpt.text.corpora.formats.format import Format, Record
from jaxgpt.text.corpora.utf8 import lines


class PlainText(Format, kind="txt"):
    """One document; as a column, a text a line."""

    suffixes = (".txt",)
    documents = named = False
    one_column = True

    def records(self, path: Path, names: Sequence[str] | None = None) -> Iterator[Record]:
        """A record a line, its text under the name `1`; blank lines are skipped."""
        for number, _, line in lines(path):
            if line.strip():
                yield Record({"1": line.rstrip("\r\n")}, f"{path}:{number}")
