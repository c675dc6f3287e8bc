"""The code that an experiment file adds: a mechanism's fields do not tell what it does, so its code counts too."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgpt.spec import Spec, digest

PREFIX = "jaxgpt_experiment_"
"""Modules that `load` makes are named so."""


def own_code(run: Spec) -> list[str]:
    """Digests of the experiment files whose mechanisms `run` uses; empty when all of them are the library's."""
    modules = {member.__module__ for member in _types(run) if member.__module__.startswith(PREFIX)}
    return sorted(
        _code_digest(Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8")) for module in modules
    )


def _code_digest(text: str) -> str:
    """The digest of everything but comments, the file's docstring and the Experiment: more seeds or another arm change
    no code."""
    return digest([ast.dump(node) for node in ast.parse(text).body if not _is_question(node)])


def _is_question(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    if isinstance(node, ast.Expr) and isinstance(value, ast.Constant):  # a text that stands alone; `WIDTH = 3` is code
        return True
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] == "Experiment"


def _types(value: Any) -> Iterator[type]:
    if isinstance(value, Spec):
        yield type(value)
        for name in type(value).model_fields:
            yield from _types(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _types(item)
