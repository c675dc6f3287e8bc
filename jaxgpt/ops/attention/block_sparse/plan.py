"""Which blocks the block-sparse kernel visits, and in what order: numpy, from the pattern's closed form alone."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.ops.patterns import Pattern, arrangements, kept_blocks

GROUPS = 6
"""Most groups a part is cut into: each is a loop of its own in the compiled program."""
WORTH = 0.02
"""The share of all visits that one more group must save."""


class Group(NamedTuple):
    """Query blocks that visit equally many key blocks."""

    rows: np.ndarray
    """int32 (steps, R): query blocks taken at once; the number of query blocks where there is none."""
    keys: np.ndarray
    """int32 (steps, R, M): the key blocks that each visits, all different. A visit more than the pattern needs finds
    nothing allowed and adds nothing."""


class Part(NamedTuple):
    """One arrangement of a pattern (see patterns.Arrangement), planned."""

    allows: Callable[[Any, Any], Any]
    queries: np.ndarray
    keys: np.ndarray
    groups: tuple[Group, ...]


@lru_cache(maxsize=64)
def plan(pattern: Pattern, length: int, block: int, at_once: int) -> tuple[Part, ...]:
    """The parts of a row of `length` tokens in blocks of `block`. `at_once`: most key blocks visited in one step."""
    parts = []
    for part in arrangements(pattern, length):
        needed = kept_blocks(part, block, block)
        counts = np.maximum(needed.sum(1), 1)
        groups = [_group(needed, rows, int(counts[rows].max()), at_once) for rows in _cut(counts)]
        parts.append(Part(part.allows, part.queries, part.keys, tuple(groups)))
    return tuple(parts)


BLOCKS = (32, 64, 128)
EDGE = 24
"""What a block's edges cost, in tokens: small blocks visit less but use the machine worse. Our estimate for a CPU."""


@lru_cache(maxsize=256)
def best_block(pattern: Pattern, length: int) -> int:
    """The block size that makes visits cheapest on a CPU."""
    cost = dict.fromkeys(BLOCKS, 0.0)
    for part in arrangements(pattern, length):
        needed = kept_blocks(part, BLOCKS[0], BLOCKS[0])
        for block in BLOCKS:
            n = block // BLOCKS[0]
            padded = np.pad(needed, [(0, -size % n) for size in needed.shape])
            Q, K = padded.shape
            tiles = padded.reshape(Q // n, n, K // n, n).any(axis=(1, 3)).sum()
            cost[block] += float(tiles) * block**2 * (1 + EDGE / block)
    return min(BLOCKS, key=lambda block: cost[block])


def visited(pattern: Pattern, length: int, block: int) -> float:
    """The share of all (query, key) pairs that lie in visited blocks: what a step's cost follows."""
    sizes = [group.keys.size for part in plan(pattern, length, block, 1) for group in part.groups]
    return sum(sizes) * block**2 / length**2


def _group(needed: np.ndarray, rows: np.ndarray, width: int, at_once: int) -> Group:
    ahead = np.argsort(~needed[rows], axis=1, kind="stable")[:, :width]  # kept blocks first, then any others
    R = min(max(1, at_once // width), rows.size)
    missing = -rows.size % R
    rows = np.concatenate([rows, np.full(missing, needed.shape[0])])
    keys = np.concatenate([ahead, np.repeat(ahead[-1:], missing, 0)])
    return Group(rows.reshape(-1, R).astype(np.int32), keys.reshape(-1, R, width).astype(np.int32))


def _cut(counts: np.ndarray) -> list[np.ndarray]:
    """Rows in up to GROUPS groups of similar counts: those that pad the fewest visits, by dynamic programming."""
    order = np.argsort(counts, kind="stable")
    widths, starts = np.unique(counts[order], return_index=True)
    ends = np.append(starts[1:], counts.size)
    if widths.size > 64:  # many widths: coarser steps lose little
        keep = np.unique(np.linspace(0, widths.size - 1, 64).astype(int))
        starts = np.concatenate([[0], ends[keep[:-1]]])
        widths, ends = widths[keep], ends[keep]
    n, fine = widths.size, WORTH * counts.sum()
    cost = np.full((GROUPS + 1, n + 1), np.inf)
    cost[0, 0] = 0
    back = np.zeros((GROUPS + 1, n + 1), int)
    for g in range(1, GROUPS + 1):
        for j in range(1, n + 1):
            tries = cost[g - 1, :j] + widths[j - 1] * (ends[j - 1] - starts[:j]) + fine
            back[g, j] = int(np.argmin(tries))
            cost[g, j] = tries[back[g, j]]
    g, j, cuts = int(np.argmin(cost[:, n])), n, []
    while j > 0:
        i = back[g, j]
        cuts.append(np.sort(order[starts[i] : ends[j - 1]]))
        g, j = g - 1, i
    return cuts[::-1]
