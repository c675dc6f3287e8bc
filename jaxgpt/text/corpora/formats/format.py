"""The data format seam: how a file of a corpus, or of scored pairs, is read.

    class Lines(Format):
        suffixes = (".log",)

        def records(self, path, names=None):
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                yield Record({"text": line}, f"{path}:{number}")

From its declaration on, every file that ends in .log is read so.
"""

import inspect
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from jaxgpt.spec import Seam, members


class Record(NamedTuple):
    """One document, one row of texts, or one scored pair."""

    fields: Mapping[str, Any]
    where: str
    """Its file and line or row, as errors name it."""
    share: float = 0.0
    """How far through the file it ends, from 0 to 1, where that is known."""


class Number(str):
    """A number in the letters of its file: a column's text, and no document."""


class Format(Seam, seam="format"):
    """Files of one kind, recognised by their names in any case of the letters."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """How their names end."""
    prefix: ClassVar[str] = ""
    """How their names begin, where that matters."""
    documents: ClassVar[bool] = True
    """Whether each record is a document; else the file as it stands is one."""
    named: ClassVar[bool] = True
    """Whether files name their fields; else their first row may be a header."""
    one_column: ClassVar[bool] = False
    """Whether each record is one text without a name."""

    @abstractmethod
    def records(self, path: Path, names: Sequence[str] | None = None) -> Iterator[Record]:
        """The file's records in order, with the fields `names` at least. A table without `names` has no header, and its
        fields are `1`, `2` and so on. Raises ConfigError, one line that names the file and the place."""


def format_of(path: Path) -> Format | None:
    """How the file is read, by its name alone: of all formats that claim it, the most particular one."""
    name, claims = path.name.lower(), []
    for member in members("format").values():
        assert issubclass(member, Format)
        ends = [len(suffix) for suffix in member.suffixes if name.endswith(suffix.lower())]
        if ends and name.startswith(member.prefix.lower()):
            claims.append((len(member.prefix), max(ends), member))
    return max(claims, key=lambda claim: claim[:2])[2]() if claims else None


def own_source(form: Format | None) -> str:
    """The source text of a format that is not jaxgpt's own, as a part of what its files hold; empty for others."""
    if form is None or form.__module__.startswith("jaxgpt."):
        return ""
    try:
        return inspect.getsource(type(form))
    except (OSError, TypeError):  # typed at a prompt
        return type(form).__qualname__


def endings(columns: int = 1) -> str:
    """How files end that may have so many columns, as an error lists them."""
    forms: Iterable[Any] = members("format").values()
    named = {form.prefix + "*" * bool(form.prefix) + end: None for form in forms for end in form.suffixes
             if columns == 1 or not form.one_column}  # fmt: skip
    return ", ".join(sorted(named))
