"""Every attention pattern: the closed forms agree with counting, and no gradient flows where attention may not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgpt.models import Decoder
from jaxgpt.nn.layout import Layout
from jaxgpt.ops.patterns import (
    Dilated,
    arrangements,
    band,
    is_relative,
    kept_blocks,
    mean_keys,
    reach,
    sees_ahead,
)

SEAM = "pattern"
EXAMPLES = {
    "prefix": [{"length": 3}],
    "banded": [{"window": 1}, {"window": 3}, {"window": 100}, {"window": 3, "right": 2}],
    "dilated": [{"window": 3, "dilation": 2}, {"window": 2, "dilation": 3, "right": 1}],
    "sinks": [{"window": 3, "count": 2}],
    "global_window": [{"window": 2, "count": 2}],
    "first": [{"count": 3}],
    "strided": [{"stride": 3}, {"stride": 4, "factor": "local"}, {"stride": 4, "factor": "column"}],
    "fixed": [
        {"stride": 4, "summary": 2},
        {"stride": 4, "summary": 1, "shift": 2, "factor": "summary"},
        {"stride": 5, "summary": 2, "factor": "block"},
    ],
    "union": [{"of": ("causal", {"kind": "banded", "window": 2, "right": 1})}],
    "intersection": [{"of": ("causal", {"kind": "global_window", "window": 3})}],
    "per_head": [{"of": ({"kind": "strided", "stride": 3}, {"kind": "fixed", "stride": 3, "summary": 1})}],
}


def strided(p, q, k):
    l = p.stride  # noqa: E741  the paper's name
    first, second = max(0, q - l) <= k <= q, k <= q and (q - k) % l == 0
    return {"both": first or second, "local": first, "column": second}[p.factor]


def fixed(p, q, k):
    l = p.stride  # noqa: E741
    first = k // l == q // l
    second = l - p.summary - p.shift <= k % l < l - p.shift
    return k <= q and {"both": first or second, "block": first, "summary": second}[p.factor]


PLAIN = {
    "causal": lambda p, q, k: k <= q,
    "bidirectional": lambda p, q, k: True,
    "prefix": lambda p, q, k: k <= q or k < p.length,
    "banded": lambda p, q, k: q - p.window + 1 <= k <= q + p.right,
    "dilated": lambda p, q, k: any(k == q - m * p.dilation for m in range(-p.right, p.window)),
    "sinks": lambda p, q, k: k <= q and (k > q - p.window or k < p.count),
    "first": lambda p, q, k: k < p.count,
    "global_window": lambda p, q, k: abs(q - k) < p.window or min(q, k) < p.count,
    "strided": strided,
    "fixed": fixed,
    "union": lambda p, q, k: any(PLAIN[part.kind](part, q, k) for part in p.of),
    "intersection": lambda p, q, k: all(PLAIN[part.kind](part, q, k) for part in p.of),
    "per_head": lambda p, q, k: any(PLAIN[part.kind](part, q, k) for part in p.of),
}


def grid(member, length):
    at = np.arange(length)
    return np.broadcast_to(member.allows(at[:, None], at[None, :]), (length, length))


def test_allows_equals_the_definition(member, by_kind):
    plain = by_kind(PLAIN)
    want = [[bool(plain(member, q, k)) for k in range(14)] for q in range(14)]
    np.testing.assert_array_equal(grid(member, 14), want)


def test_allows_is_the_same_in_numpy_and_jax(member):
    at = jnp.arange(12)
    np.testing.assert_array_equal(member.allows(at[:, None], at[None, :]), grid(member, 12))


def test_everyone_sees_something_unless_the_pattern_is_half_of_one(member):
    half = getattr(member, "factor", "both") == "summary"
    assert grid(member, 40).any(axis=1).all() != half


@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_mean_keys_equals_counting(member, length):
    parts = member.shares
    want = np.mean([grid(part, length).sum(axis=1).mean() for part in parts])
    assert mean_keys(member, length) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("length", [5, 24, 31])
def test_arrangements_take_every_pair_once_and_blocks_hold_them_all(member, length):
    taken = np.zeros((length, length), int)
    for part in arrangements(member, length):
        assert sorted(part.queries) == list(range(length)) and len(set(part.keys)) == part.keys.size
        seen = np.broadcast_to(part.allows(part.queries[:, None], part.keys[None]), (part.queries.size, part.keys.size))
        taken[np.ix_(part.queries, part.keys)] += seen
        blocks = np.zeros((-(-length // 4) * 4, -(-part.keys.size // 8) * 8), bool)
        blocks[:length, : part.keys.size] = seen
        blocks = blocks.reshape(blocks.shape[0] // 4, 4, -1, 8).any(axis=(1, 3))
        kept = kept_blocks(part, 4, 8)
        assert (kept >= blocks).all()
        assert kept.sum() == blocks.sum() or (part.by_distance and length % 8), "only a ragged end may keep more"
    np.testing.assert_array_equal(taken, grid(member, length))


def test_reach_is_the_farthest_key(member):
    q, k = np.nonzero(grid(member, 210))
    assert reach(member, 210) == (int((q - k).max()) + 1 if is_relative(member) else 210)


def test_a_relative_pattern_means_the_same_anywhere_and_no_other_does(member):
    at = np.arange(20)
    moved = all(np.array_equal(member.allows(at[:, None] + n, at + n), grid(member, 20)) for n in range(1, 8))
    assert moved == is_relative(member)


def test_sees_ahead_is_the_upper_triangle(member):
    assert sees_ahead(member, 20) == np.triu(grid(member, 20), 1).any()


def test_a_far_look_ahead_is_seen_where_distance_decides():
    assert sees_ahead(Dilated(window=2, dilation=2000, right=1), 4096)


def test_band_describes_exactly_the_bands(member):
    limits = band(member, 20)
    if limits is not None:
        distance = np.arange(20)[:, None] - np.arange(20)
        np.testing.assert_array_equal((distance <= limits[0]) & (distance >= -limits[1]), grid(member, 20))


@pytest.mark.often("causal", "banded window=1", "fixed", "per_head", "prefix", "union", "sinks")
def test_gradients_flow_exactly_where_attention_may(member, weights):
    """d output[t] / d input[s] through a stack: zero to the last bit for forbidden pairs, nonzero for all others."""
    T, layers = 6, 2
    spec = Decoder(num_layers=layers, d_model=8, num_heads=2, context=256, vocab_size=4, pattern=(member,))
    params = weights(spec)
    stack = spec.build(loop="scan").bind({"params": params}).trunk.blocks.clone(parent=None)
    layout = Layout(jnp.arange(T, dtype=jnp.int32))

    @jax.jit
    def jacobian(x_TD):
        return jax.jacrev(lambda x: stack.apply({"params": params["blocks"]}, x[None], layout)[0][0, :, 0])(x_TD)

    flow_TS = np.abs(jacobian(np.random.default_rng(3).standard_normal((T, 8)).astype(np.float32))).max(axis=-1)
    hop = grid(member, T) | np.eye(T, dtype=bool)  # the residual stream carries a token to itself
    reached = np.linalg.matrix_power(hop.astype(int), layers) > 0
    np.testing.assert_array_equal(flow_TS > 0, reached)
