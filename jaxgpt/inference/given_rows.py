"""Texts that a caller gives, as rows: checked at the door, one line for the first fault."""

from collections.abc import Iterable, Sequence
from typing import Any

from jaxgpt.inference.by_length import MOST_ROWS
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import strings, whole
from jaxgpt.spec.errors import quote
from jaxgpt.text.corpora.columns import TextRow


def text_rows(texts: Any, batch_size: int, count: int | None) -> list[TextRow]:
    """Texts, or pairs of texts, as rows: all of one form, and of `count` texts each where the model was trained on so
    many. Raises ConfigError naming the row."""
    if isinstance(texts, str):
        raise ConfigError("texts: a single string; expected a list of texts, or of pairs: m.classify([text])")
    whole("batch_size", batch_size, 1, MOST_ROWS)
    rows = [_row(index, text) for index, text in enumerate(_listed("texts", texts))]
    if not rows:
        return []
    expected = len(rows[0].texts) if count is None else count
    for index, row in enumerate(rows):
        if len(row.texts) != expected:
            form = "a text" if expected == 1 else "a pair of texts"
            why = "as the first row is" if count is None else "as in training"
            raise ConfigError(f"texts: row {index} is {quote(row.texts)}; expected {form}, {why}")
    return rows


def candidate_rows(contexts: Any, candidates: Any, batch_size: int) -> list[TextRow]:
    """Each context with its candidates. Raises ConfigError naming the row."""
    whole("batch_size", batch_size, 1, MOST_ROWS)
    if isinstance(contexts, str) or isinstance(candidates, str):
        raise ConfigError("contexts, candidates: expected a list of texts, and as many lists of texts")
    firsts, others = strings("contexts", contexts), _listed("candidates", candidates)
    if len(firsts) != len(others):
        raise ConfigError(f"candidates: {len(others)} rows for {len(firsts)} contexts; expected a list for each")
    rows = []
    for index, (first, group) in enumerate(zip(firsts, others, strict=True)):
        if isinstance(group, str) or not isinstance(group, Sequence) or len(group) < 2:
            raise ConfigError(f"candidates: row {index} is {quote(group)}; expected two texts or more to choose from")
        rows.append(TextRow(f"row {index}", (first, *strings(f"candidates: row {index}", group))))
    return rows


def _listed(name: str, value: Any) -> list[Any]:
    if isinstance(value, bytes | dict) or not isinstance(value, Iterable):
        raise ConfigError(f"{name}: {quote(value)}, expected a list")
    return list(value)


def _row(index: int, text: Any) -> TextRow:
    parts = (text,) if isinstance(text, str) else tuple(text) if isinstance(text, list | tuple) else ()
    if not 0 < len(parts) <= 2 or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"texts: row {index} is {quote(text)}; expected a text, or a pair of texts")
    return TextRow(f"row {index}", parts)
