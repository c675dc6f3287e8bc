"""What a picture of attention patterns shows: who uses which, in words, and which pairs each keeps, in colours."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.ops.patterns import Pattern, is_relative, strips
from jaxgpt.plots.palette import OWN, PAGE, SEEN, UNSEEN

HARD = "\u00a0"
"""A space at which no line breaks."""
_FAINTEST = 0.15
"""How far towards SEEN the faintest share is tinted, so that it differs from none at all."""


class View(NamedTuple):
    """A distinct pattern of a model, and who uses it, counted from 1."""

    pattern: Pattern
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    """Empty: all."""


def views(layer_patterns: Sequence[Pattern], num_heads: int) -> tuple[View, ...]:
    """The distinct patterns of a model's layers, those of shares of heads apart, in the order in which they occur."""
    users: dict[tuple[Pattern, tuple[int, ...]], list[int]] = {}
    for layer, pattern in enumerate(layer_patterns, 1):
        parts = pattern.shares
        size = num_heads // len(parts)
        for part in dict.fromkeys(parts):
            heads = tuple(head + 1 for head in range(num_heads) if parts[head // size] == part)
            users.setdefault((part, () if len(heads) == num_heads else heads), []).append(layer)
    return tuple(View(part, tuple(layers), heads) for (part, heads), layers in users.items())


def fields(pattern: Pattern) -> str:
    """`window 8, dilation 4`; left out is a default that changes nothing: 0, or a word."""
    parts = []
    for name, field in type(pattern).model_fields.items():
        value: Any = getattr(pattern, name)
        if isinstance(value, tuple) and value and isinstance(value[0], Pattern):
            parts.append("; ".join(f"{part.kind} {fields(part)}".rstrip() for part in value))
        elif value != field.default or (isinstance(value, int | float) and value):
            parts.append(f"{name}{HARD}{value}")
    return ", ".join(parts)


def numbers(counted: Sequence[int]) -> str:
    """`1–3, 5`; of more than three runs, the first two and the last: `1, 3, …, 95`."""
    runs: list[list[int]] = []
    for number in counted:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [str(first) if first == last else f"{first}–{last}" for first, last in runs]
    return ", ".join(words if len(words) <= 3 else [*words[:2], "…", words[-1]])


def kept_shares(pattern: Pattern, length: int, cell: int = 1) -> np.ndarray:
    """float (⌈length/cell⌉,)²: the share that a pattern keeps of each cell × cell patch of (query, key) pairs; exact.

    Patches of the last row and column are smaller where `cell` does not divide `length`, and count what they hold.
    """
    row = np.arange(length, dtype=np.int32)
    starts = row[::cell]
    sizes = np.diff(starts, append=length)
    if is_relative(pattern):
        pairs = _kept_by_distance(pattern, length, starts, starts + sizes)
    else:
        pairs = np.zeros((starts.size, starts.size), np.int64)
        for start, seen in strips(pattern.allows, row, row, 1):
            columns = np.add.reduceat(seen, starts, axis=1, dtype=np.int64)
            np.add.at(pairs, (start + np.arange(len(seen))) // cell, columns)
    return pairs / (sizes[:, None] * sizes)


def _kept_by_distance(pattern: Pattern, length: int, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """int (cells, cells): pairs kept, as differences of a double running sum over distances: no pair is visited."""
    distances = np.arange(-length, length + 1, dtype=np.int32)
    nearer = np.cumsum(seen_by(pattern, distances, distances[[length]])[:, 0], dtype=np.int64)  # d up to here
    total = np.concatenate([[0], np.cumsum(nearer)])  # of `nearer` before here

    def upto(q: np.ndarray, k: np.ndarray) -> np.ndarray:
        return total[q[:, None] - k + length]

    return upto(ends, starts) - upto(starts, starts) - upto(ends, ends) + upto(starts, ends)


def seen_by(pattern: Pattern, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which keys each query sees, bool (queries, keys)."""
    seen = np.asarray(pattern.allows(queries[:, None], keys[None, :]), bool)
    return np.broadcast_to(seen, (queries.size, keys.size))


def tint(share: np.ndarray) -> np.ndarray:
    """Shares (...) -> RGB (..., 3): UNSEEN at exactly 0, else towards SEEN by the square root, so that little shows."""
    weight = np.where(share > 0, _FAINTEST + (1 - _FAINTEST) * np.sqrt(share), 0)[..., None]
    return (1 - weight) * _rgb(UNSEEN) + weight * _rgb(SEEN)


def own(pattern: Pattern, places: Any) -> np.ndarray:
    """RGB (..., 3) of positions (...) as queries that look at themselves: OWN, paler where the pattern forbids it."""
    weight = np.where(pattern.allows(places, places), 1, 0.4)[..., None]
    return weight * _rgb(OWN) + (1 - weight) * _rgb(UNSEEN)


def matrix(pattern: Pattern, length: int, cell: int) -> np.ndarray:
    """RGB (cells, cells, 3): rows are queries, columns keys. The own position is coloured where a cell is one pair."""
    image = tint(kept_shares(pattern, length, cell))
    if cell == 1:
        places = np.arange(length)
        image[places, places] = own(pattern, places)
    return image


def folded(pattern: Pattern, length: int, width: int, query: int) -> np.ndarray:
    """RGB (⌈length/width⌉, width, 3): the keys as one query sees them, `width` to a row; PAGE past the end."""
    image = np.tile(_rgb(PAGE), (-(-length // width) * width, 1))
    places = np.arange(length)
    image[:length] = tint(seen_by(pattern, places[[query]], places)[0].astype(float))
    image[query] = own(pattern, query)
    return image.reshape(-1, width, 3)


def row_width(shown: Sequence[View], length: int) -> int:
    """Keys to a row of the folded picture: the multiple of a stride nearest to √length, else the next power of 2."""
    stride = next((stride for view in shown if (stride := _stride(view.pattern))), 0)
    side = math.sqrt(length)
    return min(length, stride * max(1, round(side / stride)) if stride else 2 ** math.ceil(math.log2(side)))


def _stride(pattern: Pattern) -> int:
    parts = getattr(pattern, "of", ())
    return getattr(pattern, "stride", 0) or next((stride for part in parts if (stride := _stride(part))), 0)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
