"""What differs between two specs, by dotted path."""

from typing import Any

from jaxgpt.spec.base import Spec


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted path. Lists and empty mappings are leaves."""
    if isinstance(value, Spec):
        value = value.model_dump(mode="json")
    if not isinstance(value, dict) or (prefix and not value):
        return {prefix: value}
    out: dict[str, Any] = {}
    for name, item in value.items():
        out |= flatten(item, f"{prefix}.{name}" if prefix else str(name))
    return out


def diff(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """`{path: (old, new)}` for every leaf that differs; a leaf absent on one side reads None there."""
    a, b = flatten(old), flatten(new)
    return {path: (a.get(path), b.get(path)) for path in sorted(a | b) if a.get(path) != b.get(path)}
