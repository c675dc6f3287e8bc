"""`a.b=c` on the command line and in an experiment's arms: edits of a plain mapping, before it is validated."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from jaxgpt.spec.errors import ConfigError


def parse_override(text: str) -> tuple[str, Any]:
    """`"optim.lr=3e-4"` -> `("optim.lr", "3e-4")`; the value is read as YAML and coerced by the schema later."""
    path, sign, value = text.partition("=")
    if not sign or not path or any(not part for part in path.split(".")):
        raise ConfigError(f"{text}: not an override; write path=value, for example optim.lr=3e-4")
    try:
        return path, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"{path}: cannot read the value {value!r} as YAML") from None


def apply_overrides(tree: Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `tree` with each override set. A mapping given as a bare kind (`position: rotary`) opens when an
    override reaches into it; setting `x.kind` to another kind drops the old kind's fields. List items go by index."""
    pairs = overrides.items() if isinstance(overrides, Mapping) else [parse_override(text) for text in overrides]
    out: Any = dict(tree)
    for path, value in pairs:
        out = _set(out, path.split("."), value, path)
    return out


def _set(node: Any, parts: list[str], value: Any, path: str) -> Any:
    if not parts:
        return value
    head, *rest = parts
    if isinstance(node, list | tuple):
        if not head.isdigit() or int(head) >= len(node):
            raise ConfigError(f"{path}: '{head}' is not an index into a list of {len(node)}")
        items = list(node)
        items[int(head)] = _set(items[int(head)], rest, value, path)
        return items
    if isinstance(node, str):
        node = {"kind": node}
    if node is None:
        node = {}
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path}: '{head}' reaches into {node!r}, which has no fields")
    if head == "kind" and not rest and node.get("kind") != value:
        return {"kind": value}
    return {**node, head: _set(node.get(head), rest, value, path)}
