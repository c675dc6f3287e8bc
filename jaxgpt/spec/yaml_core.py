"""YAML 1.2's core schema, and nothing that a stranger's file could use to harm: a tree of plain values, or one line.

What differs from PyYAML, which reads YAML 1.1: `yes`, `on`, `no` and `off` are words, `010` is ten, `0o10` eight,
`1:30` and dates are words, `1e-4` is a number. A key is a word whatever it looks like and stands once in a mapping.
Anchors, aliases and merges (`<<: *name`) work, as long as what they stand for is small when written out.
"""

import re
from typing import Any

import yaml
from yaml.events import AliasEvent, MappingEndEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from jaxgpt.spec.errors import cut, quote

DEEPEST = 64
"""Levels of mappings and lists inside one another."""
MOST_VALUES = 10_000
"""Keys and values of a file, with every alias counted as what it stands for."""
LONGEST_NUMBER = 100
"""Characters of a number."""

CORE = {
    "null": re.compile(r"|~|null|Null|NULL"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
    ),
}
"""What an unquoted word must look like to be no word (YAML 1.2.2, section 10.3.2), tried in this order."""
TAG = "tag:yaml.org,2002:"


class YAMLProblem(Exception):
    """Text that is not such YAML. `line` counts from 1; None where the text has no lines to speak of."""

    def __init__(self, message: str, line: int | None = None):
        self.line = line
        super().__init__(message)


def read(text: str) -> Any:
    """The value that `text` spells: None, bool, int, float, str, list, dict with str keys. Raises YAMLProblem.

    Parts that an alias stands for are shared, not copied: change them in copies only.
    """
    try:
        return _Document(yaml.SafeLoader(text)).value()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YAMLProblem(cut(error.problem or "cannot be read", 100), mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise YAMLProblem(f"character U+{ord(text[error.position]):04X} is not allowed", line) from None


class _Document:
    """One document, built from the parser's events so that its bounds hold before anything grows."""

    def __init__(self, parser: Any):
        self._parser = parser
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0

    def value(self) -> Any:
        """The document's only value; None where it is empty."""
        self._parser.get_event()  # the stream's start
        if self._parser.check_event(yaml.StreamEndEvent):
            return None
        self._parser.get_event()  # the document's
        value = self._node(self._parser.get_event(), 0)
        self._parser.get_event()
        if not self._parser.check_event(yaml.StreamEndEvent):
            raise YAMLProblem("a second document begins; keep one", _line(self._parser.get_event()))
        return value

    def _node(self, event: Any, depth: int) -> Any:
        before = self._values
        self._count(1, event)
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise YAMLProblem(f"*{quote(event.anchor, 40)} stands for nothing above it", _line(event))
            value, size = self._anchors[event.anchor]
            self._count(size, event)
            return value
        if depth == DEEPEST and not isinstance(event, ScalarEvent):
            raise YAMLProblem(f"more than {DEEPEST} levels inside one another", _line(event))
        if isinstance(event, ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, SequenceStartEvent):
            _plain_tag(event, "seq")
            value = []
            while not isinstance(item := self._parser.get_event(), SequenceEndEvent):
                value.append(self._node(item, depth + 1))
        else:
            _plain_tag(event, "map")
            value = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._values - before
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := self._parser.get_event(), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise YAMLProblem("a key must be a word, not a list, a mapping or an alias", _line(event))
            self._count(1, event)
            key, line = event.value, _line(event)
            if key in lines:
                raise YAMLProblem(f"key {quote(key, 40)} again, first on line {lines[key]}; keep one", line)
            lines[key] = line
            value = self._node(self._parser.get_event(), depth + 1)
            if key == "<<" and event.style is None:
                merged = _merge(value, line)
            else:
                own[key] = value
        return merged | own

    def _count(self, more: int, event: Any) -> None:
        self._values += more
        if self._values > MOST_VALUES:
            raise YAMLProblem(f"more than {MOST_VALUES:,} values, aliases written out", _line(event))


def _merge(value: Any, line: int) -> dict[str, Any]:
    """What `<<:` brings in: a mapping, or a list of them of which the first that has a key decides."""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, dict) for part in parts):
        raise YAMLProblem("<<: takes a mapping, or a list of mappings", line)
    merged: dict[str, Any] = {}
    for part in parts:
        merged = part | merged
    return merged


def _scalar(event: ScalarEvent) -> Any:
    text, tag = event.value, event.tag
    if tag in ("!", TAG + "str") or (tag is None and not event.implicit[0]):
        return text
    kind = next((kind for kind, form in CORE.items() if form.fullmatch(text)), "str")
    if tag is not None and tag.removeprefix(TAG) != kind and (tag, kind) != (TAG + "float", "int"):
        if tag.removeprefix(TAG) in CORE:
            raise YAMLProblem(f"{quote(text, 40)} is no {tag.removeprefix(TAG)}", _line(event))
        _plain_tag(event, "str")
    if kind in ("int", "float") and len(text) > LONGEST_NUMBER:
        raise YAMLProblem(f"a number of {len(text):,} characters; at most {LONGEST_NUMBER}", _line(event))
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        return number if tag != TAG + "float" else float(number)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _plain_tag(event: Any, kind: str) -> None:
    """Raises YAMLProblem for a tag that asks for anything but the plain kind."""
    if event.tag not in (None, "!", TAG + kind):
        name = event.tag.replace(TAG, "!!")
        raise YAMLProblem(f"tag {quote(name, 40)} is not read; a config is plain values", _line(event))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


class Dumper(yaml.SafeDumper):
    """Quotes every string that YAML 1.1 or the core schema would take for something else, so that both read it back."""


for _kind, _form in CORE.items():
    Dumper.add_implicit_resolver(TAG + _kind, re.compile(rf"(?:{_form.pattern})\Z"), None)
