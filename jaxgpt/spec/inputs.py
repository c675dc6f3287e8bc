"""Numbers of a spec that a compiled program takes as inputs, so that specs which differ in them share one program.

A class names its own in `inputs`, or says by `open_inputs` which they are of a value. Those named in `switches` too are
compiled in only where they are not 0: a dropout of 0 is another program than one of 0.1, one of 0.2 is not.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from jaxgpt.spec.base import Spec

S = TypeVar("S", bound=Spec)

STAND_IN = 0.5
"""What an input reads in the spec that stands for all that share a program: in range wherever one is."""


def inputs(spec: Spec, prefix: str = "") -> dict[str, float]:
    """`{"optim.lr": 3e-4, ...}`: every input in a tree of specs, by dotted path."""
    numbers: dict[str, float] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Spec):
            numbers |= inputs(value, f"{prefix}{name}.")
        elif name in spec.open_inputs and not (name in spec.switches and value == 0):
            numbers[prefix + name] = float(value)
    return numbers


def enabled(value: Any) -> bool:
    """Whether a term with this weight, or dropout at this rate, is compiled in: unless the number is a plain 0. A
    traced number always is, as its value is not known while compiling."""
    return not isinstance(value, int | float) or value != 0


def bind(spec: S, values: Mapping[str, Any]) -> S:
    """The spec with each input that `values` names (by dotted path) set to what it holds, a traced number included."""
    changes: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        head, _, rest = path.partition(".")
        if rest:
            below.setdefault(head, {})[rest] = value
        else:
            changes[head] = value
    for name, nested in below.items():
        changes[name] = bind(getattr(spec, name), nested)
    return spec.model_copy(update=changes)  # unvalidated: a traced number passes no schema


def stand_in(spec: S) -> S:
    """The spec that stands for all that differ in inputs only."""
    return bind(spec, dict.fromkeys(inputs(spec), STAND_IN))
