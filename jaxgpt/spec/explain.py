"""pydantic's errors as lines that a person can act on: dotted path, value, what was expected, remedy."""

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from jaxgpt.spec.errors import ConfigError, did_you_mean, quote

MOST = 20
"""Problems that are listed."""
WORDS = {None: "null", True: "true", False: "false"}
"""How YAML spells what Python spells otherwise."""


def explain(cls: type[BaseModel], tree: Any, error: ValidationError) -> ConfigError:
    """A line for each problem, as far as there are not too many to read. `tree` was validated; None: it is unknown."""
    problems = error.errors(include_url=False)
    lines = [_line(cls, tree, problem) for problem in problems[:MOST]]
    return ConfigError(lines + ([f"... and {len(problems) - MOST} more"] if len(problems) > MOST else []))


def spec_of(annotation: Any) -> Any:
    """The spec's class in a field's annotation, of a tuple's items if it is one; None where there is none."""
    if get_origin(annotation) in (Union, types.UnionType, tuple, Annotated):
        return next((spec for arg in get_args(annotation) if (spec := spec_of(arg))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def member(cls: Any, value: Any) -> Any:
    """The class of `value`, of which its place says that it is a `cls`: a seam's member by its kind."""
    if isinstance(value, BaseModel):
        return type(value)
    return None if cls is None else cls.class_of(value)


def _line(cls: type[BaseModel], tree: Any, problem: Any) -> str:
    names, owner = _locate(cls, tree, problem["loc"])
    path, message = ".".join(names), problem["msg"]
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown field{_near(str(problem['loc'][-1]), owner)}"
    if problem["type"] == "missing":
        return f"{path}: a value is required"
    if problem["type"] == "value_error":  # raised by our own validators: the message names fields and remedy itself
        message = message.removeprefix("Value error, ")
        return f"{path}: {message}" if path else message
    if problem["type"] in ("plain", "seam", "kind"):  # raised by specs themselves, complete
        return f"{path or 'kind'}: {message}"
    value = problem["input"]
    shown = WORDS[value] if value is None or isinstance(value, bool) else quote(value)
    return f"{path}: {message[0].lower()}{message[1:]}, got {shown}"


def _locate(cls: Any, tree: Any, where: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """The dotted names of a location, and the class that its last name is a field of.

    pydantic puts labels in between, such as 'function-before[...]' or 'str', that are neither field nor key nor index.
    """
    names: list[str] = []
    unknown = tree is None
    cls, owner = member(cls, tree), cls
    for part in where:
        field = cls.model_fields.get(part) if cls is not None else None
        if isinstance(part, int):
            tree = tree[part] if isinstance(tree, list | tuple) and part < len(tree) else tree  # one stands for a list
            cls = member(cls, tree)
        elif field is not None or (isinstance(tree, Mapping) and part in tree) or (unknown and _is_name(part)):
            owner = cls
            tree = tree.get(part) if isinstance(tree, Mapping) else getattr(tree, part, None)
            cls = member(spec_of(field.annotation), tree) if field is not None else None
        else:
            continue
        names.append(str(part) if isinstance(part, int) or _is_name(part) else quote(part, 40))
    return names, owner


def _is_name(part: str | int) -> bool:
    """Whether a part of a location can stand in an error line as it is."""
    return str(part).isidentifier() and len(str(part)) <= 40


def _near(name: str, owner: Any) -> str:
    """What an unknown field of `owner` may have been meant to be."""
    known = set(owner.model_fields) if owner is not None else set()
    first, dot, _ = name.partition(".")
    if dot and first in known:
        return f"; a dot reaches into a field on the command line only: in a file nest it below '{first}'"
    word = re.sub(r"[^a-z0-9]+", "_", name[:100].strip().lower())
    word = owner.formerly.get(word, word) if owner is not None else word
    return f"; did you mean '{word}'?" if word in known else did_you_mean(word, known)
