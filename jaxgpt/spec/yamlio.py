"""Specs from YAML and back. Only the safe loader: a config is data, safe to load from a stranger."""

import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import ValidationError

from jaxgpt.spec.base import Spec
from jaxgpt.spec.errors import ConfigError, did_you_mean, quote
from jaxgpt.spec.overrides import apply_overrides
from jaxgpt.spec.seam import Seam

S = TypeVar("S", bound=Spec)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError when it is missing, unreadable or not a mapping."""
    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else ())
        raise ConfigError(f"{path}: no such config file{near}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not safe YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of fields, found {type(tree).__name__}")
    return tree


def load_yaml(cls: type[S], path: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> S:
    """Reads `path`, applies overrides, validates. All problems are raised at once as one ConfigError."""
    return parse(cls, apply_overrides(read_yaml(path), overrides))


def dump_yaml(spec: Spec) -> str:
    """YAML text that `load_yaml` reads back to an equal spec."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, width=120)


def parse(cls: type[S], tree: Mapping[str, Any]) -> S:
    """Validates a mapping. Raises ConfigError with one line for each bad field: path, value, expectation, remedy."""
    try:
        return cls.model_validate(tree)
    except ValidationError as error:
        raise explain(cls, tree, error) from None


def explain(cls: type[Spec], tree: Mapping[str, Any], error: ValidationError) -> ConfigError:
    """The readable form of pydantic's error, for specs that Python code constructs itself."""
    return ConfigError([_line(cls, tree, problem) for problem in error.errors()])


def _line(cls: type[Spec], tree: Any, problem: Any) -> str:
    # pydantic puts seam-internal labels such as 'function-before[...]' in the location: keep keys and indices only.
    where = [str(part) for part in problem["loc"] if isinstance(part, int) or str(part).isidentifier()]
    path, message = ".".join(where), problem["msg"]
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown field{did_you_mean(where[-1], _siblings(cls, tree, where[:-1]))}"
    if problem["type"] == "missing":
        return f"{path}: a value is required"
    if problem["type"] == "value_error":  # raised by our own validators: the message names fields and remedy itself
        message = message.removeprefix("Value error, ")
        return f"{path}: {message}" if path else message
    return f"{path}: {message[0].lower()}{message[1:]}, got {quote(problem['input'])}"


def _siblings(cls: Any, tree: Any, where: list[str]) -> list[str]:
    """The field names of the spec that a location points to."""
    for part in where:
        tree = tree[int(part)] if isinstance(tree, list | tuple) else (tree or {}).get(part)
        if not part.isdigit():
            cls = _spec_of(cls.model_fields[part].annotation)
        if cls is not None and issubclass(cls, Seam) and isinstance(tree, dict):
            cls = cls._members.get(tree.get("kind"), cls)
    return list(cls.model_fields) if cls is not None else []


def _spec_of(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return next((found for arg in get_args(annotation) if (found := _spec_of(arg))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Spec) else None
