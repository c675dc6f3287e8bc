"""Seeded damage to files and trees, of the kinds that transfers, editors and attackers do."""

import copy
import random
from typing import Any

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, -(2**63), 10**30, 1.5, -0.0, 1e308, 1e-320),
    *(
        float("nan"),
        float("inf"),
        float("-inf"),
        "",
        "a",
        "\0",
        "\x1b[31m\n",
        "\ud800",
        "é" * 9,
        "x" * 5000,
        " ",
        "../..",
    ),
    *([], {}, [[]], [None], [0] * 2000, ["a", "a"], {"a": 1}, {"": {}}, {"type": "BPE"}, "0", "1e9", "nan", "null"),
]
"""What a value is swapped for."""


def mutated_bytes(raw: bytes, rng: random.Random) -> bytes:
    """`raw` with one to three pieces of damage."""
    for _ in range(rng.randint(1, 3)):
        at, size = rng.randrange(len(raw) + 1), rng.choice([1, 1, 2, 8, 64, 1000])
        match rng.randrange(8):
            case 0 | 1 if raw:
                at = min(at, len(raw) - 1)
                raw = raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]
            case 2:
                raw = raw[:at]
            case 3:
                raw = raw[:at] + raw[at + size :]
            case 4:
                raw = raw[:at] + rng.randbytes(size) + raw[at:]
            case 5:
                raw = raw[:at] + raw[at : at + size] * rng.choice([2, 3, 50]) + raw[at + size :]
            case 6:
                raw = (
                    raw[:at]
                    + rng.choice([b"\0", b"\xff", b"[", b"{", b"9", b" ", b"\n", b'"']) * size
                    + raw[at + size :]
                )
            case _:
                raw = raw[:at] + rng.randbytes(min(size, len(raw) - at)) + raw[at + size :]
    return raw


def mutated_tree(tree: Any, rng: random.Random) -> Any:
    """A copy of a tree of JSON with one to three of its nodes swapped, gone, doubled, renamed or nested."""
    box = [copy.deepcopy(tree)]
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(_places(box))
        match rng.randrange(7):
            case 0:
                holder[key] = copy.deepcopy(rng.choice(VALUES))
            case 1 | 2:
                alike = [value for value in VALUES if isinstance(value, type(holder[key]))]
                holder[key] = copy.deepcopy(rng.choice(alike or VALUES))
            case 3 if holder is not box:
                del holder[key]
            case 4 if isinstance(holder, dict):
                holder[rng.choice(["", "type", "A", str(key) + "s", "x" * 300])] = holder.pop(key)
            case 4:
                holder.append(copy.deepcopy(holder[key]))
            case 5:
                value = holder[key]
                for _ in range(rng.choice([1, 3, 200])):
                    value = [value] if rng.random() < 0.5 else {"a": value}
                holder[key] = value
            case _:
                other, place = rng.choice(_places(box))
                holder[key] = copy.deepcopy(other[place])
    return box[0]


def _places(box: list[Any]) -> list[tuple[Any, Any]]:
    """Every place in a tree that holds a value, each level as likely as the one below it, however many lie there."""
    found, level = list[tuple[Any, Any]](), [(box, 0)]
    while level:
        found += random.Random(len(found)).sample(level, min(len(level), 40))
        values = [holder[key] for holder, key in level[:2000]]
        level = [(value, key) for value in values if isinstance(value, dict) for key in value] + [
            (value, key) for value in values if isinstance(value, list) for key in range(len(value))
        ]
    return found
