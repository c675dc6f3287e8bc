"""JSON lines: an object a line."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text.corpora.formats.format import Format, Number, Record
from jaxgpt.text.corpora.utf8 import lines

DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=Number)


class JSONLines(Format, kind="jsonl"):
    """An object a line, its fields by name."""

    suffixes = (".jsonl",)

    def records(self, path: Path, names: Sequence[str] | None = None) -> Iterator[Record]:
        """A record a line, its fields by name; blank lines are skipped."""
        for number, end, line in lines(path):
            if number == 1:
                size = path.stat().st_size
            if line.strip():
                where = f"{path}:{number}"
                yield Record(_object(line, where), where, min(end / size, 1.0))


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        record = DECODER.decode(line)
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = quote(str(error), 100)[1:-1]
    else:
        if isinstance(record, dict):
            return record
        reason = f"a JSON {'number' if isinstance(record, Number) else type(record).__name__}"
    raise ConfigError(f"{where}: not a JSON object: {reason}; expected one a line")
