"""JSON from strangers: strictly one object, every key once, no NaN, any fault in one line."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from jaxgpt.spec import ConfigError
from jaxgpt.spec.small_file import read_small_bytes
from jaxgpt.spec.stand_in import refuse_stand_in

MOST_DIGITS = 40
"""Of an integer; more are no size, count or id of anything."""
LIMIT = 50_000_000
"""Bytes of a file; the largest vocabularies have two thirds of it."""


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """The object in a file that should hold `expected`. Raises ConfigError naming the file."""
    return parse_object(read_bytes(path, expected), str(path), expected)


def read_list(path: Path, expected: str) -> list[dict[str, Any]]:
    """The objects in a file that should hold a list of them. Raises ConfigError naming the file."""
    entries = _parsed(read_bytes(path, expected), str(path), expected)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: no list of JSON objects; expected {expected}")
    return entries


def parse_object(raw: bytes, where: str, expected: str) -> dict[str, Any]:
    """The object that `raw` spells. Raises ConfigError naming `where`."""
    tree = _parsed(raw, where, expected)
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: a JSON {type(tree).__name__}; expected {expected}")
    return tree


def read_bytes(path: Path, expected: str) -> bytes:
    """A file's content, unparsed. Raises ConfigError for what is no file, too large, or cannot be read."""
    try:
        raw = read_small_bytes(path, LIMIT)
    except ConfigError as error:
        raise ConfigError(f"{error}; expected {expected}") from None
    refuse_stand_in(path, raw)
    return raw


def _parsed(raw: bytes, where: str, expected: str) -> Any:
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_finite,
        )
    except RecursionError:
        raise ConfigError(f"{where}: not sound JSON: nested too deep; expected {expected}") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are such
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{where}: not sound JSON: {reason}; expected {expected}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        raise ValueError(f"key {Counter(key for key, _ in pairs).most_common(1)[0][0][:64]!r} more than once")
    return tree


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is beyond float64")
    return number
