"""Documents out of one file: its records, or the text as it stands."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import listed, quote
from jaxgpt.text.corpora.formats import Number, format_of
from jaxgpt.text.corpora.utf8 import decoded, open_regular, unmarked, without_surrogates


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


def has_documents(path: Path) -> bool:
    """Whether a file holds many documents, by its name."""
    form = format_of(path)
    return form is not None and form.documents


def read_documents(path: Path, text_field: str) -> Iterator[tuple[str, float]]:
    """`(text, share of the file read so far)` for each record. Raises ConfigError with the place of a bad one."""
    form = format_of(path)
    assert form is not None
    for fields, where, share in form.records(path, (text_field,)):
        yield text_of(fields, text_field, where), share


def text_of(fields: Mapping[str, Any], text_field: str, where: str) -> str:
    """A record's text, `?` for each lone surrogate. Raises ConfigError naming `where` when the field is absent or no
    string."""
    if text_field not in fields:
        raise ConfigError(f"{where}: no field {quote(text_field)}; it has {listed(fields)}; set data.text_field")
    text = fields[text_field]
    if not isinstance(text, str) or isinstance(text, Number):
        kind = "a number" if isinstance(text, Number) else type(text).__name__
        raise ConfigError(f"{where}: field {quote(text_field)} is {kind}, expected a string")
    return without_surrogates(text)
