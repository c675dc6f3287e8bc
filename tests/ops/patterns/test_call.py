"""The calls that a pattern is made of: no pair twice, none left out, no padding seen; and how many they are."""

import numpy as np
import pytest

from jaxgpt.ops.attention.cost import visited_pairs
from jaxgpt.ops.patterns import (
    Banded,
    Bidirectional,
    Causal,
    Dilated,
    Fixed,
    GlobalWindow,
    Intersection,
    Mask,
    Prefix,
    Sinks,
    Strided,
    Union,
    calls,
)
from jaxgpt.ops.patterns.call import before, behind, comb

LENGTHS = 1, 2, 3, 8, 13, 16, 17, 31
COLUMN = Strided(stride=4, factor="column")
PATTERNS = [
    Causal(),
    Bidirectional(),
    *(Prefix(length=n) for n in (1, 3, 40)),
    *(Banded(window=n, right=right) for n in (1, 3, 100) for right in (0, 1, 4, 50)),
    *(Dilated(window=n, dilation=d, right=right) for n in (1, 5) for d in (1, 3, 20) for right in (0, 1, 3)),
    *(Sinks(window=n, count=c) for n in (1, 3, 20) for c in (1, 2, 7, 20)),
    *(GlobalWindow(window=n, count=c) for n in (1, 2, 5, 40) for c in (1, 2, 6, 40)),
    *(Strided(stride=n, factor=f) for n in (1, 2, 3, 7, 20) for f in ("both", "local", "column")),
    *(
        Fixed(stride=n, summary=c, shift=shift, factor=f)
        for n, c, shift in ((1, 1, 0), (2, 1, 1), (4, 3, 0), (5, 2, 3), (8, 3, 1), (40, 3, 3))
        for f in ("both", "block", "summary")
    ),
    Union(of=(Banded(window=3), COLUMN)),
    Union(of=(Causal(), Banded(window=2, right=1))),
    Intersection(of=(Strided(stride=3), Dilated(window=4, dilation=2))),
]


def times_seen(parts, length):
    """int (T, T): in how many calls a query sees a key; fails where a token sees padding or a query sees nothing."""
    times = np.zeros((length, length), int)
    for call in parts:
        q_RTL, k_RSL = call.queries.positions(length), call.keys.positions(length)
        assert (q_RTL.shape[0], q_RTL.shape[2]) == (k_RSL.shape[0], k_RSL.shape[2])
        seen_TS = call.mask.allows(np.arange(q_RTL.shape[1])[:, None], np.arange(k_RSL.shape[1])[None, :])
        assert seen_TS.any(1).all()
        q, k = (np.moveaxis(x, 2, 1) for x in (q_RTL, k_RSL))
        q, k, seen = np.broadcast_arrays(q[..., :, None], k[..., None, :], seen_TS)
        real = seen & (q >= 0)
        assert (k[real] >= 0).all()
        np.add.at(times, (q[real], k[real]), 1)
    return times


@pytest.mark.parametrize("length", LENGTHS)
def test_together_they_are_the_pattern(length):
    at = np.arange(length)
    for pattern in PATTERNS:
        want = np.broadcast_to(pattern.allows(at[:, None], at[None, :]), (length, length))
        np.testing.assert_array_equal(times_seen(calls(pattern, length), length), want, err_msg=f"{pattern} {length}")


def test_what_has_no_calls_is_said_so():
    assert calls(Intersection(of=(Causal(), GlobalWindow(window=3))), 16) is None
    gaps = Union(of=tuple(Strided(stride=stride, factor="column") for stride in (7, 11, 13, 17, 19)))
    assert calls(gaps, 512) is None


def test_ends_of_a_row_that_hold_nothing():
    assert behind(10, 10, 3) == before(10, 10, 3) == before(10, 3, 0) == ()
    assert times_seen((comb(10, 9, 1, 1),), 10).sum() == 1


LONG = 16384
DENSE = visited_pairs(LONG, LONG, Mask())


@pytest.mark.parametrize(
    ("pattern", "count", "share"),
    [
        (Strided(stride=128), 2, 0.0464),
        (Fixed(stride=128, summary=32), 8, 0.271),
        (Dilated(window=512, dilation=8), 1, 0.0679),
        (Sinks(window=1024), 2, 0.150),
        (GlobalWindow(window=512, count=16), 5, 0.183),
    ],
    ids=lambda x: getattr(x, "kind", None),
)
def test_calls_and_pairs_at_16k_against_dense(pattern, count, share):
    """Pairs in the 128 x 128 tiles that the calls compute, over those of a causal row: computed, not timed."""
    parts, pairs = calls(pattern, LONG), 0
    for call in parts:
        rows, T, lanes = call.queries.positions(LONG).shape
        pairs += rows * lanes * visited_pairs(T, call.keys.positions(LONG).shape[1], call.mask)
    assert len(parts) == count
    assert pairs / DENSE == pytest.approx(share, rel=0.01)


def test_a_lanes_tokens_stay_where_they_are():
    """Columns are heads of a view of the row, in which a token's heads lie side by side as before."""
    x = np.arange(2 * 16 * 3 * 5).reshape(2, 16, 3, 5)
    near, far = calls(Strided(stride=4), 16)
    columns = calls(COLUMN, 16)[0]
    assert np.shares_memory(x, columns.queries.take(x)) and np.shares_memory(x, near.queries.take(x))
    assert columns.queries.take(x).shape == (2, 4, 12, 5)
    assert far.queries.positions(16)[0, :, 0].tolist() == [8, 12]
