"""Specs from YAML and back. A config is data, safe to load from a stranger."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from jaxgpt.spec.base import Spec
from jaxgpt.spec.errors import ConfigError, did_you_mean
from jaxgpt.spec.explain import explain
from jaxgpt.spec.overrides import apply_overrides
from jaxgpt.spec.small_file import read_small
from jaxgpt.spec.yaml_core import Dumper, YAMLProblem, read

S = TypeVar("S", bound=Spec)

MOST = 1 << 18
"""Bytes of a YAML file: all of it is read within a second."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, without top-level keys that start with `_`: those hold anchors.

    Raises ConfigError, one line, when it is missing, no small text file, not YAML as `yaml_core` reads it, or not a
    mapping.
    """
    path = Path(path)
    if not os.path.exists(path):
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else ())
        raise ConfigError(f"{path}: no such config file{near}")
    try:
        tree = read(read_small(path, MOST))
    except YAMLProblem as problem:
        raise ConfigError(f"{path}{f':{problem.line}' if problem.line else ''}: not safe YAML: {problem}") from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: expected a mapping of fields, found {'nothing' if tree is None else type(tree).__name__}"
        )
    return {name: value for name, value in tree.items() if not name.startswith("_")}


def load_yaml(cls: type[S], path: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> S:
    """Reads `path`, applies overrides, validates. All problems are raised at once as one ConfigError."""
    return parse(cls, apply_overrides(read_yaml(path), overrides, cls))


def dump_yaml(spec: Spec) -> str:
    """YAML text that `load_yaml` reads back to an equal spec, and other programs to equal values."""
    return yaml.dump(spec.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, width=120)


def parse(cls: type[S], tree: Mapping[str, Any]) -> S:
    """Validates a mapping. Raises ConfigError with one line for each bad field: path, value, expectation, remedy."""
    try:
        return cls.model_validate(tree)
    except ValidationError as error:
        raise explain(cls, tree, error) from None
