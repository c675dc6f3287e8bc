"""Which pieces of a row meet on which device, and when: numpy, from the pattern's closed form alone.

A row of T tokens lies on n devices, p pieces of t tokens each (p is 2, or 1 where a device's tokens are odd). Queries
stay; keys travel around: at offset s device i holds those that device i − s began with.
"""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from jaxgpt.ops.attention.ring import zigzag
from jaxgpt.ops.patterns import Arrangement, Pattern, is_relative, kept_blocks
from jaxgpt.ops.patterns.pattern import same_order

WORTH = 0.8
"""The share of the work in the row's own order below which zigzag is worth its moves: our choice."""


class Visits(NamedTuple):
    """What each device computes at each of S steps: device i, at step s, visits 0 up to number[s, i]."""

    number: np.ndarray
    """int32 (S, n)."""
    slots: np.ndarray
    """int32 (S, n, M, 2): which of a device's pieces of queries, and which of those of keys it holds."""
    pieces: np.ndarray
    """int32 (S, n, M, 2): the same two by their place in the row."""
    first: np.ndarray
    last: np.ndarray
    """int32 (S, n, M, query blocks): the key blocks of the pair that a block of queries visits."""


class Plan(NamedTuple):
    """All steps of a row. Offsets at which no device needs a key are left out: the keys hop over them."""

    order: np.ndarray
    """int32 (n, p): the pieces that each device holds."""
    piece: int
    """t."""
    block_q: int
    block_k: int
    offsets: tuple[int, ...]
    """How far the keys have come at each step; the first is 0."""
    visits: Visits

    @property
    def zigzag(self) -> bool:
        """Whether the devices exchange pieces before and after."""
        return bool(self.order[0, -1] == self.order.size - 1)

    @property
    def legs(self) -> list[tuple[int, slice]]:
        """The steps but the last, in runs after each of which the keys hop equally far, and how far that is."""
        hops = np.diff(self.offsets)
        cuts = [0, *(np.flatnonzero(np.diff(hops)) + 1).tolist(), hops.size] if hops.size else []
        return [(int(hops[start]), slice(start, stop)) for start, stop in pairwise(cuts)]

    def work(self) -> np.ndarray:
        """int (S, n): pairs of tokens in the blocks that each device visits."""
        return (self.visits.last - self.visits.first).sum((2, 3)) * self.block_q * self.block_k

    def time(self) -> int:
        """Pairs of tokens one after the other: at every step the devices wait for the busiest."""
        return int(self.work().max(1).sum())


@lru_cache(maxsize=64)
def plan(pattern: Pattern | None, length: int, parts: int, block_q: int, block_k: int) -> Plan:
    """The plan of a row of `length` tokens on `parts` devices, in the order of pieces that takes the least time.

    `pattern` None: unknown positions, so that every key is visited. Blocks hold at most `block_q`, `block_k` tokens.
    """
    p = 1 if length // parts % 2 else 2
    piece = length // (parts * p)
    block_q, block_k = min(block_q, piece), min(block_k, piece)
    first, last = _spans(pattern, parts * p, piece, block_q, block_k)
    row = np.arange(parts * p, dtype=np.int32).reshape(parts, p)
    plain = Plan(row, piece, block_q, block_k, *_visits(row, first, last))
    if p == 1:
        return plain
    zigzag_order = zigzag.order(parts)
    balanced = Plan(zigzag_order, piece, block_q, block_k, *_visits(zigzag_order, first, last))
    return balanced if balanced.time() < WORTH * plain.time() else plain


def _spans(
    pattern: Pattern | None, pieces: int, piece: int, block_q: int, block_k: int
) -> tuple[np.ndarray, np.ndarray]:
    """int32 (pieces, pieces, query blocks): the first key block, and the one after the last, that each pair needs."""
    Q, K = -(-piece // block_q), -(-piece // block_k)
    if pattern is None:
        return np.zeros((pieces, pieces, Q), np.int32), np.full((pieces, pieces, Q), K, np.int32)
    find = _needed_by_distance if is_relative(pattern) else _needed
    table = find(pattern, pieces, piece, block_q, block_k)
    some = table.any(-1)
    first = np.where(some, table.argmax(-1), 0)
    last = np.where(some, K - table[..., ::-1].argmax(-1), 0)
    return first.astype(np.int32), last.astype(np.int32)


def _needed(pattern: Pattern, pieces: int, piece: int, block_q: int, block_k: int) -> np.ndarray:
    """bool (pieces, pieces, query blocks, key blocks): whether anything is seen."""
    rows = same_order(pieces * piece).reshape(pieces, piece)
    return np.array([[kept_blocks(Arrangement(pattern.allows, q, k), block_q, block_k) for k in rows] for q in rows])


def _needed_by_distance(pattern: Pattern, pieces: int, piece: int, block_q: int, block_k: int) -> np.ndarray:
    """What `_needed` gives, for a pattern of distance alone, in time that does not grow with the row's length."""
    row = same_order(piece)

    def needed(apart: int) -> np.ndarray:
        part = Arrangement(lambda q, k: pattern.allows(q + apart * piece, k), row, row, by_distance=True)
        # Blocks that reach beyond a piece's end may seem to see what only the next one does.
        return kept_blocks(part, block_q, block_k) & kept_blocks(part, piece, piece)

    by_distance = {apart: needed(apart) for apart in range(1 - pieces, pieces)}
    return np.array([[by_distance[q - k] for k in range(pieces)] for q in range(pieces)])


def _visits(order: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[tuple[int, ...], Visits]:
    """Offsets, and the visits there."""
    n, p = order.shape
    needed = np.any(last > first, axis=-1)
    slots = [(a, b) for a in range(p) for b in range(p)]
    by_offset: dict[int, list[list[tuple[int, int]]]] = {}
    for offset in range(n):
        theirs = order[(np.arange(n) - offset) % n]
        visits = [[(a, b) for a, b in slots if needed[order[i, a], theirs[i, b]]] for i in range(n)]
        if offset == 0 or any(visits):
            by_offset[offset] = visits
    number = np.array([[len(pairs) for pairs in visits] for visits in by_offset.values()], np.int32)
    most = max(1, int(number.max()))
    filled = np.array(
        [[pairs + [(0, 0)] * (most - len(pairs)) for pairs in visits] for visits in by_offset.values()], np.int32
    )
    device = np.arange(n)[:, None]
    source = (device - np.array([*by_offset])[:, None, None]) % n
    pieces = np.stack([order[device, filled[..., 0]], order[source, filled[..., 1]]], axis=-1)
    there = (np.arange(most) < number[..., None])[..., None]
    spans = (np.where(there, x[pieces[..., 0], pieces[..., 1]], 0) for x in (first, last))
    return tuple(by_offset), Visits(number, filled, pieces, *spans)
