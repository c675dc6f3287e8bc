"""The plan visits every kept block once, wastes little, and costs what its pattern keeps."""

import numpy as np
import pytest

from jaxgpt.ops.attention.block_sparse.plan import BLOCKS, GROUPS, best_block, plan, visited
from jaxgpt.ops.patterns import (
    Banded,
    Bidirectional,
    Causal,
    Fixed,
    GlobalWindow,
    Sinks,
    Strided,
    arrangements,
    kept_blocks,
)

PATTERNS = [
    Causal(),
    Bidirectional(),
    Banded(window=200),
    Sinks(window=100),
    GlobalWindow(window=64, count=3),
    Strided(stride=32),
    Fixed(stride=64, summary=16),
]


@pytest.mark.parametrize("length", [100, 1024, 1500])
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_every_kept_block_is_visited_once(pattern, length):
    for part, arranged in zip(plan(pattern, length, 32, 7), arrangements(pattern, length), strict=True):
        kept = kept_blocks(arranged, 32, 32)
        times, rows = np.zeros(kept.shape, int), []
        assert len(part.groups) <= GROUPS
        for group in part.groups:
            assert group.rows.shape[1] * group.keys.shape[2] <= max(7, group.keys.shape[2])
            for row, keys in zip(group.rows.reshape(-1), group.keys.reshape(-1, group.keys.shape[2]), strict=True):
                assert len(set(keys)) == len(keys)
                if row < len(kept):
                    rows.append(row)
                    times[row, keys] += 1
        assert sorted(rows) == list(range(len(kept)))
        assert times.max() == 1 and (times[kept] == 1).all()


def test_a_long_causal_row_wastes_little():
    assert visited(Causal(), 8192, 128) < 0.6


@pytest.mark.parametrize("pattern", [Banded(window=256), Strided(stride=128)], ids=lambda pattern: pattern.kind)
def test_visits_grow_with_the_length_alone(pattern):
    at_4k, at_16k = (visited(pattern, length, 128) * length for length in (4096, 16384))
    assert at_16k / at_4k == pytest.approx(1, rel=0.4)


def test_narrow_bands_take_small_blocks_and_dense_rows_large_ones():
    assert best_block(Banded(window=16), 1024) == BLOCKS[0]
    assert best_block(Causal(), 1024) == BLOCKS[-1]
