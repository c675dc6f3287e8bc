"""Numbers, truth values and words are never taken for one another, whatever pydantic would make of them.

A whole float is an int (`1e4` steps) and an int is a float; text is no number even where it looks like one, `true` is
not 1, and the word `None` is not null.
"""

import types
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticCustomError

from jaxgpt.spec.errors import quote

NUMBERS = frozenset({int, float})
KNOWN = NUMBERS | {bool, str, type(None)}


def plain(value: Any, annotation: Any) -> Any:
    """`value` for a field of that annotation. Raises PydanticCustomError with what was expected, and the remedy."""
    if isinstance(value, list | tuple):
        items = _items(annotation, tuple)
        return value if items is None else [plain(item, items) for item in value]
    if isinstance(value, dict):
        items = _items(annotation, dict)
        return value if items is None else {key: plain(item, items) for key, item in value.items()}
    takes = _takes(annotation)
    if value == "None" and type(None) in takes:
        raise _refusal("'None' is a word in YAML; write null for none")
    if not takes & KNOWN - {type(None)} or Any in takes:
        return value  # a spec's or another class's own business
    if isinstance(value, bool) and bool not in takes and takes & NUMBERS:
        raise _refusal(f"expected a number, got {str(value).lower()}")
    words = _words(annotation)
    if isinstance(value, str) and (str not in takes or (takes & NUMBERS and words and value not in words)):
        if takes & NUMBERS:
            expected = " or ".join(("a number", *words))
            raise _refusal(f"expected {expected}, got the text {quote(value)}{_unquoted(value)}")
        raise _refusal(f"expected true or false, got {quote(value)}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not takes & NUMBERS and bool in takes:
        raise _refusal(f"expected true or false, got {quote(value)}")
    if isinstance(value, float) and int in takes and float not in takes and value.is_integer():
        return int(value)
    return value


def _unquoted(text: str) -> str:
    """What to do about a text that stands where a number should."""
    try:
        float(text)
    except ValueError:
        return ""
    return "; write digits alone, without '_'" if "_" in text else "; write it without quotes"


def _refusal(text: str) -> PydanticCustomError:
    return PydanticCustomError("plain", "{text}", {"text": text})


@lru_cache(maxsize=4096)
def _takes(annotation: Any) -> frozenset[Any]:
    """The types that a field takes, of scalars; those of literals are theirs."""
    origin = get_origin(annotation)
    if origin is Literal:
        return frozenset(type(value) for value in get_args(annotation))
    if origin is Annotated:
        return _takes(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return frozenset().union(*map(_takes, get_args(annotation)))
    return frozenset({annotation if origin is None else origin})


@lru_cache(maxsize=4096)
def _words(annotation: Any) -> tuple[str, ...]:
    """The words that a field takes besides what is no literal."""
    origin = get_origin(annotation)
    if origin is Literal:
        return tuple(value for value in get_args(annotation) if isinstance(value, str))
    if origin is Annotated:
        return _words(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return sum(map(_words, get_args(annotation)), ())
    return ()


@lru_cache(maxsize=4096)
def _items(annotation: Any, of: type) -> Any:
    """What a field's tuple or dict holds; None where it has none, or a fixed number of different ones."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _items(args[0], of)
    if origin in (Union, types.UnionType):
        return next((items for arg in args if (items := _items(arg, of)) is not None), None)
    if origin is not of:
        return None
    return args[1] if of is dict else args[0] if args[1:] == (...,) else None
