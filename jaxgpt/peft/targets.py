"""Which projections there are for an adapter to stand on, and which of its rules name none of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxgpt.spec.errors import quote
from jaxgpt.spec.rules import names

WEIGHT, ADAPTER = "/weight", "/adapter/"


def projections(shapes: Mapping[str, Any]) -> list[str]:
    """Paths of all projections, from the shapes of a model's parameters by path."""
    return sorted(path.removesuffix(WEIGHT) for path in shapes if path.endswith(WEIGHT) and ADAPTER not in path)


def adapted(shapes: Mapping[str, Any]) -> list[str]:
    """Paths of what has parameters of an adapter."""
    return sorted({path.split(ADAPTER)[0] for path in shapes if ADAPTER in path})


def unmet(field: str, rules: Sequence[str], paths: Iterable[str], what: str) -> list[str]:
    """A line for each rule of a field that names none of `paths`, which are `what`."""
    known = sorted(paths)
    return [
        f"{field}: no {what} is named as {quote(rule)} says; there are {', '.join(known) or 'none'}"
        for rule in rules
        if not any(names([rule], path) for path in known)
    ]
