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


def instance(name: str, value: Any, expected: str, *kinds: type) -> None:
    """Raises ConfigError, saying what was `expected`, where `value` is of none of the `kinds`."""
    if not isinstance(value, kinds):
        raise ConfigError(f"{name}: {quote(value)}, expected {expected}")


def choice(name: str, value: Any, options: Iterable[str]) -> None:
    """Raises ConfigError where `value` is none of the `options`."""
    options = tuple(options)
    if not isinstance(value, str) or value not in options:
        raise ConfigError(f"{name}: {quote(value)}; expected one of {', '.join(options)}")


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
