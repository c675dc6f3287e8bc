"""Ways to spoil a file, by a seeded draw: cut, garbled, of another type, or no file at all."""

import json
import os
import random
from pathlib import Path
from typing import Any

HOSTILE: list[Any] = [
    *(
        None,
        True,
        [],
        {},
        "",
        "x",
        "\x1b[2J",
        "=1+1",
        "<script>",
        -1,
        0,
        2.5,
        1e308,
        10**400,
        1 << 63,
        [[1]],
        {"a": {}},
    ),
    *(["x"] * 100, "y" * 10_000, {"status": "finished"}, "../../../etc/passwd", "/dev/zero"),
]
NESTED = "[" * 50_000, '{"a":' * 50_000, "[" * 300 + "]" * 300
BARE = (
    "NaN",
    "Infinity",
    "1e999",
    "9" * 10_000,
    "null",
    "[]",
    "{}",
    "3",
    '"text"',
    "\ufeff{}",
    "- a\n- b",
    "a: b: c",
    "&a [*a]",
)


def spoil(path: Path, draw: random.Random) -> str:
    """Spoils what is at `path`; says how."""
    ways = [cut, empty, garbage, flipped, another, field, field, field, nested, bare, not_utf8, large]
    ways += [folder, pipe, circle, dangling, device]
    way = draw.choice(ways)
    raw = path.read_bytes() if path.is_file() else b"{}"
    if path.exists() or path.is_symlink():
        path.unlink()
    way(path, raw, draw)
    return way.__name__


def cut(path: Path, raw: bytes, draw: random.Random) -> None:
    path.write_bytes(raw[: draw.randrange(max(1, len(raw)))])


def empty(path: Path, raw: bytes, draw: random.Random) -> None:
    path.write_bytes(b"")


def garbage(path: Path, raw: bytes, draw: random.Random) -> None:
    path.write_bytes(draw.randbytes(draw.randrange(1, 3000)))


def flipped(path: Path, raw: bytes, draw: random.Random) -> None:
    changed = bytearray(raw or b" ")
    for _ in range(draw.randrange(1, 9)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    path.write_bytes(changed)


def another(path: Path, raw: bytes, draw: random.Random) -> None:
    path.write_text(json.dumps(draw.choice(HOSTILE)))


def field(path: Path, raw: bytes, draw: random.Random) -> None:
    """One value somewhere inside is another, or gone; of a log, in one of its rows."""
    lines = raw.splitlines() if path.suffix == ".jsonl" else [raw]
    at = draw.randrange(max(1, len(lines)))
    try:
        held = json.loads(lines[at])
    except (ValueError, IndexError):
        return garbage(path, raw, draw)
    places = list(_places(held))
    if not places:
        return another(path, raw, draw)
    holder, key = draw.choice(places)
    if draw.random() < 0.2:
        del holder[key]
    else:
        holder[key] = draw.choice(HOSTILE)
    lines[at] = json.dumps(held).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")


def _places(held: Any) -> Any:
    if isinstance(held, dict | list):
        for key in held if isinstance(held, dict) else range(len(held)):
            yield held, key
            yield from _places(held[key])


def nested(path: Path, raw: bytes, draw: random.Random) -> None:
    path.write_text(draw.choice(NESTED))


def bare(path: Path, raw: bytes, draw: random.Random) -> None:
    path.write_text(draw.choice(BARE))


def not_utf8(path: Path, raw: bytes, draw: random.Random) -> None:
    at = draw.randrange(len(raw) + 1)
    path.write_bytes(raw[:at] + b"\xff\xfe\x80" + raw[at:])


def large(path: Path, raw: bytes, draw: random.Random) -> None:
    path.write_bytes(raw)
    os.truncate(path, 1 << 40)  # a hole: it takes no space


def folder(path: Path, raw: bytes, draw: random.Random) -> None:
    path.mkdir()
    (path / "x").touch()


def pipe(path: Path, raw: bytes, draw: random.Random) -> None:
    os.mkfifo(path)


def circle(path: Path, raw: bytes, draw: random.Random) -> None:
    path.symlink_to(path)


def dangling(path: Path, raw: bytes, draw: random.Random) -> None:
    path.symlink_to(path.with_name("nowhere"))


def device(path: Path, raw: bytes, draw: random.Random) -> None:
    path.symlink_to("/dev/zero")
