"""What a caller may pass to the library's functions: checked at the door, one line for each fault."""

import operator
from collections.abc import Iterable, Mapping
from typing import Any

from jaxgpt.spec.errors import ConfigError, quote


def whole(name: str, value: Any, least: int, most: int) -> int:
    """`value` as an int, of Python or of numpy, from `least` to `most`. Raises ConfigError naming the argument."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        raise ConfigError(f"{name}: {quote(value)}, expected a whole number from {least} to {most:,}")
    return number


def strings(name: str, value: Any) -> list[str]:
    """The strings that `value` is: several, or a single one, which counts as a list of it. Raises ConfigError."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise ConfigError(f"{name}: {quote(value)}, expected a string or a list of strings")
    texts = list(value)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ConfigError(f"{name}: row {row} is {type(text).__name__} {quote(text)}, expected a string")
    return texts
