"""Numbers that hold where a rule names a path: `{attention/q$: 16}`; the first rule found in it counts."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer, PositiveFloat

from jaxgpt.spec.rules import Rule
from jaxgpt.spec.sizes import Width

N = TypeVar("N")


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


Widths = Annotated[tuple[tuple[Rule, Width], ...], BeforeValidator(_pairs), PlainSerializer(dict)]
"""A mapping in a file; pairs in a spec, which is hashed."""
Factors = Annotated[tuple[tuple[Rule, PositiveFloat], ...], BeforeValidator(_pairs), PlainSerializer(dict)]
"""The same of floats."""


def rules(table: Sequence[tuple[str, Any]]) -> list[str]:
    """The rules of a table."""
    return [rule for rule, _ in table]


def number_at(path: str, table: Sequence[tuple[str, N]], otherwise: N) -> N:
    """The number of the first rule that is found in the path."""
    return next((number for rule, number in table if re.search(rule, path)), otherwise)
