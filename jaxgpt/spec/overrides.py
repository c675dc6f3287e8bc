"""`a.b=c` on the command line and in an experiment's arms: edits of a plain mapping, before it is validated."""

from collections.abc import Iterable, Mapping
from typing import Any, get_origin

from jaxgpt.spec.base import Spec
from jaxgpt.spec.errors import ConfigError, cut, quote
from jaxgpt.spec.explain import member, spec_of
from jaxgpt.spec.yaml_core import YAMLProblem, read

LONGEST = 1 << 18
"""Characters of a value."""
DEEPEST = 64
"""Names of a path."""


def parse_override(text: str) -> tuple[str, Any]:
    """`"optim.lr=3e-4"` -> `("optim.lr", 0.0003)`; the value is read as a config's values are."""
    path, sign, value = text.partition("=")
    parts = path.split(".")
    if not sign or not all(parts) or len(parts) > DEEPEST:
        raise ConfigError(f"{cut(text, 80)}: not an override; write path=value, for example optim.lr=3e-4")
    try:
        if len(value) > LONGEST:
            raise YAMLProblem(f"{len(value):,} characters; at most {LONGEST:,}")
        return path, read(value)
    except YAMLProblem as problem:
        raise ConfigError(f"{cut(path, 80)}: cannot read the value {quote(value)} as YAML: {problem}") from None


def apply_overrides(
    tree: Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any], cls: type[Spec] | None = None
) -> dict[str, Any]:
    """A copy of `tree`, the fields of a `cls`, with each override set.

    An override reaches into what is there, be it a bare kind (`position: rotary`), and into the default of a field that
    is not, of the class that the tree's kinds name. Setting `x.kind` to another kind drops the old kind's fields. List
    items go by index. Without `cls` there are no defaults to reach into.
    """
    pairs = overrides.items() if isinstance(overrides, Mapping) else [parse_override(text) for text in overrides]
    out: Any = dict(tree)
    for path, value in pairs:
        out = _set(out, cls, path.split("."), value, cut(path, 80))
    return out


def _set(node: Any, cls: type[Spec] | None, parts: list[str], value: Any, path: str) -> Any:
    """`node`, which the schema says is a `cls`, with the value set below it."""
    if not parts:
        return value
    head, *rest = parts
    if isinstance(node, Spec):
        node = node.model_dump(mode="json")
    if isinstance(node, list | tuple):
        if not head.isdecimal() or len(head) > 9 or int(head) >= len(node):
            raise ConfigError(f"{path}: {quote(head, 40)} is not an index into a list of {len(node)}")
        items = list(node)
        items[int(head)] = _set(items[int(head)], cls, rest, value, path)
        return items
    if isinstance(node, str):
        node = {"kind": node}
    if node is None:
        node = {}
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path}: {quote(head, 40)} reaches into {quote(node)}, which has no fields")
    if head == "kind" and not rest and node.get("kind", cls and cls.default_kind) != value:
        return {"kind": value}
    below, content = _field(node, member(cls, node), head, rest)
    return {**node, head: _set(content, below, rest, value, path)}


def _field(node: Mapping[str, Any], cls: Any, name: str, rest: list[str]) -> tuple[Any, Any]:
    """The class of what a field holds, and what it holds: the default where `node` lacks it."""
    field = cls.model_fields.get(name) if cls is not None else None
    if field is None:
        return None, node.get(name)
    content = node.get(name)
    if name not in node and not field.is_required():
        content = field.get_default(call_default_factory=True)
    if rest and rest[0].isdecimal() and isinstance(content, str | Mapping) and get_origin(field.annotation) is tuple:
        content = [content]  # one value stands for a list of one
    return spec_of(field.annotation), content
