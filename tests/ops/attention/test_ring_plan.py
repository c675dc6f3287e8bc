"""The plan of a ring: each allowed pair is visited once, no device waits under a causal pattern, bands stay at home."""

import numpy as np
import pytest

from jaxgpt.ops.attention.ring.plan import plan
from jaxgpt.ops.attention.ring.zigzag import order
from jaxgpt.ops.patterns import Banded, Bidirectional, Causal, Fixed, GlobalWindow, Prefix, Strided

PATTERNS = [
    Causal(),
    Bidirectional(),
    Banded(window=9),
    Banded(window=3, right=2),
    Strided(stride=16),
    Fixed(stride=16, summary=3),
    Prefix(length=20),
    GlobalWindow(window=4, count=2),
]


@pytest.mark.parametrize("length", [96, 104, 120])
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_every_allowed_pair_is_visited_once(pattern, length):
    made = plan(pattern, length, 8, 4, 3)
    assert sorted(made.order.reshape(-1)) == list(range(made.order.size))
    at = np.arange(length)
    allowed = np.broadcast_to(pattern.allows(at[:, None], at[None]), (length, length))
    times = np.zeros((length, length), int)
    for step, offset in enumerate(made.offsets):
        number, slots, pieces, first, last = (x[step] for x in made.visits)
        for i in range(8):
            theirs = made.order[(i - offset) % 8]
            for m in range(number[i]):
                q, k = pieces[i, m]
                assert (q, k) == (made.order[i][slots[i, m, 0]], theirs[slots[i, m, 1]])
                for block, (start, stop) in enumerate(zip(first[i, m], last[i, m], strict=True)):
                    rows = np.arange(block * made.block_q, min((block + 1) * made.block_q, made.piece))
                    keys = np.arange(start * made.block_k, min(stop * made.block_k, made.piece))
                    times[np.ix_(q * made.piece + rows, k * made.piece + keys)] += 1
    assert times.max() == 1 and (times[allowed] == 1).all()


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_causal_row_gives_every_device_the_same_work_at_every_step(parts):
    made = plan(Causal(), 64 * parts, parts, 8, 8)
    np.testing.assert_array_equal(made.order, order(parts))
    np.testing.assert_array_equal(made.visits.number, np.array([3] + [2] * (parts - 1))[:, None] * np.ones(parts, int))
    assert (made.work() == made.work()[:, :1]).all()
    least = 64 * parts * (64 * parts + 8) // 2  # a triangle of blocks
    assert made.time() * parts == least


def test_a_causal_row_in_its_own_order_would_take_nearly_twice_as_long():
    row = plan(Causal(), 8 * 33, 8, 33, 33)  # an odd number of tokens a device has no halves
    assert not row.zigzag and row.order.shape == (8, 1)
    assert row.time() == 8 * 33**2 and plan(Causal(), 8 * 32, 8, 16, 16).time() == (3 + 2 * 7) * 16**2


def test_only_needed_offsets_are_sent():
    def sent(pattern):
        made = plan(pattern, 256, 8, 8, 8)
        return made.offsets, made.legs

    assert sent(Causal()) == (tuple(range(8)), [(1, slice(0, 7))])
    assert sent(Banded(window=8)) == ((0, 1), [(1, slice(0, 1))])
    assert sent(Banded(window=8, right=8)) == ((0, 1, 7), [(1, slice(0, 1)), (6, slice(1, 2))])
    assert sent(Banded(window=1)) == ((0,), [])
    assert not plan(Banded(window=8), 256, 8, 8, 8).zigzag and not plan(Bidirectional(), 256, 8, 8, 8).zigzag


def test_a_narrow_band_costs_its_blocks_not_its_pieces():
    made = plan(Banded(window=8), 1024, 8, 8, 8)
    assert made.time() <= 2 * 128 * 8 + 8 * 8


def test_unknown_positions_visit_everything():
    made = plan(None, 64, 4, 8, 8)
    assert not made.zigzag and (made.work().sum(0) == 64 * 16).all()
