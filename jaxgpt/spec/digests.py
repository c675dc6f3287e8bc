"""A spec's identity: the SHA-256 of its canonical JSON."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

from jaxgpt.spec.base import Spec
from jaxgpt.spec.seam import Seam


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for equal values on any machine."""
    if isinstance(value, Spec):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any, length: int = 10) -> str:
    """The first `length` hex digits of SHA-256 over `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def stated(spec: Spec, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a spec that are not at their default, all the way down, and the kinds of its seams, as JSON.

    A field that is added later, with a default, changes nothing in it. `leave_out`: fields of `spec` itself.
    """
    fields = type(spec).model_fields
    values = {name: getattr(spec, name) for name in fields if name not in leave_out}
    own = {n: v for n, v in values.items() if v != fields[n].get_default(call_default_factory=True)}
    dumped = spec.model_dump(mode="json", include=set(own))
    kind = {"kind": spec.kind} if isinstance(spec, Seam) and spec.kind != spec.default_kind else {}
    return kind | {name: _stated(value, dumped[name]) for name, value in own.items()}


def _stated(value: Any, dumped: Any) -> Any:
    """`dumped` is what `value` is in JSON."""
    if isinstance(value, Spec):
        return stated(value)
    if isinstance(value, list | tuple):
        return [_stated(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped
