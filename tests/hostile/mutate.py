"""Mutations of a sound file: by byte, by line, and, where it is JSON or YAML, by value. All from a seed."""

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]
VALUES = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**30), 1e308, 0.5, 1e-320),
    *("", " ", "x" * 5000, "a\nb", "\x1b[31m", "\0", "../../etc/passwd", "/dev/zero", "~", "‮", "=1+1", "NaN", "1e9"),
    *([], {}, [[]], {"": None}, [None] * 50, {"kind": "none"}, ["a", 1, None], DEEP),
]
"""What a stranger may write where something else is meant."""
WORDS = [
    b"nan",
    b"inf",
    b"-1",
    b"0",
    b"1e400",
    b"9" * 400,
    b"null",
    b"\xff\xfe",
    b"\0\0\0\0",
    b"\xef\xbb\xbf",
    b'"',
    b"{",
]


def mutations(raw: bytes, seed: str, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` of them: what was done, in words, and the bytes."""
    tree = _tree(raw)
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        name, change = rng.choice(BYTES if tree is None or rng.random() < 0.3 else VALUED)
        yield f"{number} {name}", change(raw, rng) if change in BY_BYTE else change(tree, rng)


def _tree(raw: bytes) -> Any:
    """JSON or YAML that has a value in it to change; None for anything else. A safetensors header counts as bytes."""
    try:
        text = raw.decode()
        tree = json.loads(text) if text.lstrip()[:1] in ("{", "[") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return None
    return tree if isinstance(tree, dict | list) and tree else None


def _flip(raw: bytes, rng: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 4, 64))):
        if data:
            data[_place(len(data), rng)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _place(size: int, rng: random.Random) -> int:
    """Headers are where the mischief is: every other place lies among the first 256 bytes."""
    return rng.randrange(min(size, 256) if rng.random() < 0.5 else size)


def _truncate(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _insert(raw: bytes, rng: random.Random) -> bytes:
    at = _place(len(raw) + 1, rng)
    return raw[:at] + rng.choice([*WORDS, rng.randbytes(8), rng.randbytes(1000)]) + raw[at:]


def _delete(raw: bytes, rng: random.Random) -> bytes:
    at = _place(len(raw) + 1, rng)
    return raw[:at] + raw[at + rng.choice((1, 4, 8, 100)) :]


def _overwrite(raw: bytes, rng: random.Random) -> bytes:
    at, new = _place(len(raw) + 1, rng), rng.choice([b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, *WORDS])
    return raw[:at] + new + raw[at + len(new) :]


def _repeat(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[at : at + 200] * rng.choice((2, 50)) + raw[at:]


def _lines(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.split(b"\n")
    rng.shuffle(lines)
    return rng.choice((b"\n", b"\r\n", b"\r", b" ")).join(lines)


def _garbage(raw: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (b"", b"\0" * 1000, rng.randbytes(1000), b"[" * 100_000, b"<!DOCTYPE html><html>", b"version https")
    )


def _replace(tree: Any, rng: random.Random) -> bytes:
    return _dump(_changed(tree, rng, lambda value: rng.choice(VALUES)), rng)


def _swap(tree: Any, rng: random.Random) -> bytes:
    """A number for another, a text for another: of the right type, and wrong."""

    def other(value: Any) -> Any:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return rng.choice((0, -value, value + 1, value * 2, value * 10**6, 2**31, 10**12, float(value)))
        if isinstance(value, float):
            return rng.choice((-value, value * 1e10, 0.0, 1e308, "nan"))
        return str(value) + rng.choice(("x", " ", "\n", "é", "s")) if isinstance(value, str) else value

    return _dump(_changed(tree, rng, other), rng)


def _drop(tree: Any, rng: random.Random) -> bytes:
    return _dump(_changed(tree, rng, None), rng)


def _top(tree: Any, rng: random.Random) -> bytes:
    return _dump(rng.choice(([tree], {"a": tree}, [], {}, None, 3, "text")), rng)


def _twice(tree: Any, rng: random.Random) -> bytes:
    text = json.dumps(tree)
    at = text.find(":", rng.randrange(max(len(text), 1)))
    start = text.rfind('"', 0, text.rfind('"', 0, at)) if at > 0 else -1
    return (text if start < 0 else f"{text[:start]}{text[start:at]}: 0, {text[start:]}").encode()


def _dump(tree: Any, rng: random.Random) -> bytes:
    text = json.dumps(tree)
    return text.replace('"NaN"', rng.choice(("NaN", "Infinity", "-Infinity", '"NaN"'))).encode()


def _changed(tree: Any, rng: random.Random, change: Callable[[Any], Any] | None) -> Any:
    """A copy in which one value, anywhere, is changed, or gone where there is no `change`."""
    tree = json.loads(json.dumps(tree))
    places: list[tuple[Any, Any]] = []
    pending = [tree]
    while pending and len(places) < 5000:
        node = pending.pop()
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                pending.append(node[key])
    if places:
        node, key = rng.choice(places)
        if change is None:
            del node[key]
        else:
            node[key] = change(node[key])
    return tree


BYTES = [
    ("flip", _flip),
    ("flip", _flip),
    ("truncate", _truncate),
    ("insert", _insert),
    ("delete", _delete),
    ("overwrite", _overwrite),
    ("repeat", _repeat),
    ("lines", _lines),
    ("garbage", _garbage),
]
VALUED = [
    ("replace", _replace),
    ("replace", _replace),
    ("swap", _swap),
    ("drop", _drop),
    ("top", _top),
    ("twice", _twice),
]
BY_BYTE = {change for _, change in BYTES}


def _folder(path: Path) -> None:
    path.mkdir()


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def _vast(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


STANDINS: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "a folder": _folder,
    "a pipe": os.mkfifo,
    "a link to a device": _endless,
    "a link to itself": _circle,
    "a link to nothing": _nowhere,
    "vast": _vast,
}
"""What may stand in a file's place."""
