"""What follows from a pattern's closed form: the keys it keeps, the blocks they lie in, how far back it reaches.

All of it is numpy, computed once for each pattern and length.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from jaxgpt.ops.patterns.call import Call, Composed, Mask, Tokens, comb
from jaxgpt.ops.patterns.combine import is_relative
from jaxgpt.ops.patterns.pattern import Arranged, Arrangement, Pattern, same_order

AT_ONCE = 2**22
"""Pairs whose closed form is evaluated at once."""
MOST_PAIRS = 2**28
"""Pairs that are evaluated to count keys."""
LOOKED_AT = 1024
"""Positions of a row that are searched for keys ahead where a pattern does not go by distance alone."""


def arrangements(pattern: Pattern, length: int) -> tuple[Arrangement, ...]:
    """The disjoint parts of a pattern, each with an order of the tokens in which its blocks are dense."""
    if isinstance(pattern, Arranged):
        return pattern.arrange(length)
    row = same_order(length)
    return (Arrangement(pattern.allows, row, row, is_relative(pattern)),)


COMBS = 4
"""Most calls to each side that a pattern of distance alone is cut into."""


@lru_cache(maxsize=256)
def calls(pattern: Pattern, length: int) -> tuple[Call, ...] | None:
    """The ordinary attention calls that a pattern is made of in a row of `length`, or None where it is not.

    A pattern of distance alone falls apart where its distances do into a few arithmetic series.
    """
    if isinstance(pattern, Composed):
        return pattern.calls(length)
    if not is_relative(pattern):
        return None
    row = same_order(length)
    behind, ahead = _seen(pattern.allows, row, 0), _seen(pattern.allows, 0, row)
    if behind.all() and ahead.all():
        return (Call(Tokens(), Tokens(), Mask(causal=False)),)
    ahead[0] = False
    both = _combs(behind, COMBS), _combs(ahead, COMBS)
    if both[0] is None or both[1] is None or not both[0] + both[1]:
        return None
    return tuple(comb(length, *each, ahead=side == 1) for side in (0, 1) for each in both[side] or ())


def _combs(seen: np.ndarray, most: int) -> tuple[tuple[int, int, int], ...] | None:
    """(first, step, count) of the fewest arithmetic series that a set of distances falls apart into, at most `most`."""
    at = np.flatnonzero(seen)
    if not at.size or not most:
        return None if at.size else ()
    first, ways = int(at[0]), []
    for step in {1, int(at[1]) - first if at.size > 1 else 1}:
        series = seen[first::step]
        count = series.size if series.all() else int(series.argmin())
        rest = seen.copy()
        rest[first : first + step * count : step] = False
        others = _combs(rest, most - 1)
        if others is not None:
            ways.append(((first, step, count), *others))
    return min(ways, key=len, default=None)


@lru_cache(maxsize=256)
def mean_keys(pattern: Pattern, length: int) -> float:
    """Keys seen by a query, averaged over a row of `length` and over heads: what the true FLOP count rests on.

    Exact, but that of patterns that do not go by distance alone only every n-th query is asked in rows of more than
    16,384 tokens.
    """
    parts = pattern.shares
    if len(parts) > 1:
        return sum(mean_keys(part, length) for part in parts) / len(parts)
    row = same_order(length)
    if is_relative(pattern):
        behind, ahead = _seen(pattern.allows, row, 0), _seen(pattern.allows, 0, row)
        return float(behind @ (length - row) + ahead[1:] @ (length - row[1:])) / length
    asked = row[:: -(-length * length // MOST_PAIRS)]
    return sum(int(seen.sum()) for _, seen in strips(pattern.allows, asked, row, 1)) / asked.size


def kept_blocks(part: Arrangement, block_q: int, block_k: int) -> np.ndarray:
    """bool (query blocks, key blocks): whether a block of queries sees anything in a block of keys."""
    Q, K = (-(-order.size // block) for order, block in ((part.queries, block_q), (part.keys, block_k)))
    if part.by_distance:
        before = K * block_k  # distances run from -before, below which no pair of blocks reaches
        seen = _seen(part.allows, np.arange(-before, Q * block_q, dtype=np.int32), 0)
        total = np.concatenate([[0], np.cumsum(seen)])
        nearest = before + block_q * np.arange(Q)[:, None] - block_k * np.arange(K)[None, :] - (block_k - 1)
        return total[nearest + block_q + block_k - 1] > total[nearest]
    needed = np.zeros((Q, K), bool)
    for start, seen in strips(part.allows, part.queries, part.keys, block_q):
        rows = -(-seen.shape[0] // block_q)
        padded = np.zeros((rows * block_q, K * block_k), bool)
        padded[: seen.shape[0], : seen.shape[1]] = seen
        first = start // block_q
        needed[first : first + rows] = padded.reshape(rows, block_q, K, block_k).any(axis=(1, 3))
    return needed


@lru_cache(maxsize=256)
def reach(pattern: Pattern, length: int) -> int:
    """How many positions back, the own one counted, a query can see in a row of `length`: what a cache must hold."""
    if not is_relative(pattern):
        return length
    return int(np.flatnonzero(_seen(pattern.allows, same_order(length), 0)).max(initial=0)) + 1


@lru_cache(maxsize=256)
def sees_ahead(pattern: Pattern, length: int) -> bool:
    """Whether some query in a row of `length` (at most LOOKED_AT unless relative) sees a later key."""
    if is_relative(pattern):
        return bool(_seen(pattern.allows, 0, same_order(length)[1:]).any())
    row = same_order(min(length, LOOKED_AT))
    return any(np.triu(seen, start + 1).any() for start, seen in strips(pattern.allows, row, row, 1))


@lru_cache(maxsize=256)
def band(pattern: Pattern, length: int) -> tuple[int, int] | None:
    """(left, right) where, in a row of `length`, the pattern is exactly q − left ≤ k ≤ q + right; else None."""
    if not is_relative(pattern):
        return None
    row = same_order(length)
    behind, ahead = _seen(pattern.allows, row, 0), _seen(pattern.allows, 0, row)
    left, right = int(behind.sum()) - 1, int(ahead.sum()) - 1
    return (left, right) if behind[: left + 1].all() and ahead[: right + 1].all() and left >= 0 else None


def _seen(allows: Callable[[Any, Any], Any], q: Any, k: Any) -> np.ndarray:
    return np.asarray(allows(q, k), bool)


def strips(
    allows: Callable[[Any, Any], Any], queries: np.ndarray, keys: np.ndarray, grain: int
) -> Iterator[tuple[int, np.ndarray]]:
    """(first query, bool (rows, keys)) over all queries, a multiple of `grain` rows at a time."""
    rows = max(1, AT_ONCE // max(1, keys.size) // grain) * grain
    for start in range(0, queries.size, rows):
        q = queries[start : start + rows, None]
        yield start, np.broadcast_to(_seen(allows, q, keys[None, :]), (q.size, keys.size))
