"""Every attention kernel equals a softmax written out in numpy, in value and gradient, or refuses and says who can.

Patterns are those of the pattern suite's examples: a new pattern is tried on every kernel as soon as it has one.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_patterns import EXAMPLES as PATTERNS

from jaxgpt.ops.attention import AttentionDropout, BlockSparse, Chunked, Reference, Scores, Side, Spans, case_of_call
from jaxgpt.ops.patterns import Banded, Bidirectional, Causal, Fixed, Pattern, Strided
from jaxgpt.ops.positions import ALiBi, RelativeBias
from jaxgpt.spec import ConfigError, members

SEAM = "kernel"
EXAMPLES = {
    "block_sparse": [{"block": 4}],
    "chunked": [{"queries": 4, "keys": 8}],
    "cudnn_parts": [{"interpret": True}],
    "spans": [{"block": 4}],
    "splash": [{"interpret": True, "block": 128}],
}
B, T, H, K = 2, 16, 4, 16
AT = np.arange(T, dtype=np.int32)
rng = np.random.default_rng(0)
PACKED = np.array([[1] * 5 + [2] * 11, [1] * 12 + [2] * 3 + [0]], np.int32)
RESTARTED = np.array([[*range(5), *range(11)], [*range(12), *range(3), 0]], np.int32)
ROW = {"pattern": Causal(), "q": Side(AT), "k": Side(AT), "numbering": "row"}
ANY = ROW | {"numbering": "any"}
SEGMENTS = {"q": Side(AT, PACKED), "k": Side(AT, PACKED)}
RESTART = {"q": Side(RESTARTED, PACKED), "k": Side(RESTARTED, PACKED)}
T5 = RelativeBias(buckets=8, max_distance=12)
CASES: dict[str, dict[str, Any]] = {
    "multi_query": ROW | {"groups": 1, "pattern": Banded(window=3)},
    "alibi": ROW | {"position": ALiBi(), "table_H": ALiBi().table(H), "groups": 2},
    "t5 and segments": ROW | SEGMENTS | {"position": T5, "table_H": rng.standard_normal((H, 8)).astype(np.float32)},
    "soft_cap": ROW | {"soft_cap": 0.5},
    "positions of each row": ANY | RESTART,
    "empty keys": ANY | {"k": Side(np.where(AT < 5, AT, -1)), "pattern": Bidirectional(), "groups": 2},
    "rows without a key": ANY
    | {"k": Side(np.stack([AT, np.full(T, -1)]).astype(np.int32)), "q": Side(np.stack([AT, AT])), "groups": 2},
    "first row sees none": ANY | {"k": Side(np.concatenate([AT[1:], AT[-1:] + 1]))},
    "decode": ANY
    | {"queries": 1, "q": Side(np.array([[3], [5]], np.int32)), "k": Side(np.stack([AT, AT])), "groups": 2},
    "soft_cap, bias and segments": ROW
    | SEGMENTS
    | {"soft_cap": 1.0, "position": ALiBi(), "table_H": ALiBi().table(H), "pattern": Strided(stride=4)},
}


def a_quarter(key):
    return AttentionDropout(jax.random.key_data(key), jnp.float32(0.25))


def draw(groups=H, queries=T, keys=T, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (B, H, queries, K), (B, groups, keys, K), (B, groups, keys, K), (B, H, queries, K)
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)


def case(name):
    fields = dict(CASES[name])
    groups, queries = fields.pop("groups", H), fields.pop("queries", T)
    return *draw(groups, queries), Scores(**fields)


def plain(q, k, v, do, scores):
    """Softmax attention without any trick in float64: the output, and the gradients of q, k and v for `do`."""
    q, k, v, do = (np.asarray(x, np.float64) for x in (q, k, v, do))
    (B, H, _, K), G = q.shape, k.shape[1]
    q_pos, k_pos = (np.broadcast_to(pos, (B, pos.shape[-1])) for pos in (scores.q.pos, scores.k.pos))
    parts = scores.pattern.shares
    allowed = [part.allows(q_pos[:, :, None], k_pos[:, None, :]) & (k_pos[:, None, :] >= 0) for part in parts]
    mask = np.repeat(np.stack(allowed, 1), H // len(parts), axis=1)
    if scores.q.segment is not None:
        mask = mask & (scores.q.segment[:, None, :, None] == scores.k.segment[:, None, None, :])
    wide_k, wide_v = (np.repeat(x, H // G, axis=1) for x in (k, v))
    s = np.einsum("bhtk,bhsk->bhts", q, wide_k) / K**0.5
    slope = np.ones_like(s)
    if scores.soft_cap is not None:
        slope = 1 - np.tanh(s / scores.soft_cap) ** 2
        s = scores.soft_cap * np.tanh(s / scores.soft_cap)
    if scores.position is not None:
        s = s + np.asarray(scores.position.bias(scores.table_H, scores.q.pos, scores.k.pos), np.float64)
    e = np.exp(np.where(mask, s - s.max(-1, keepdims=True), -np.inf))
    total = e.sum(-1, keepdims=True)
    w = e / np.where(total == 0, 1.0, total)
    out = np.einsum("bhts,bhsk->bhtk", w, wide_v)
    dw = np.einsum("bhtk,bhsk->bhts", do, wide_v)
    ds = w * (dw - (w * dw).sum(-1, keepdims=True)) * slope / K**0.5
    group = lambda x: x.reshape(B, G, H // G, *x.shape[2:]).sum(2)  # noqa: E731
    dq = np.einsum("bhts,bhsk->bhtk", ds, wide_k)
    dk, dv = group(np.einsum("bhts,bhtk->bhsk", ds, q)), group(np.einsum("bhts,bhtk->bhsk", w, do))
    return out, dq, dk, dv


def attend(member, q, k, v, scores):
    try:
        return member.attend(q, k, v, scores)
    except ConfigError as refusal:
        asked = [case_of_call(q, k, scores._replace(pattern=part)) for part in scores.pattern.shares]
        able = [kind for kind, cls in members("kernel").items() if not any(cls().refusal(one) for one in asked)]
        assert len(refusal.problems) == 1 and "\n" not in str(refusal)
        assert str(refusal).startswith(f"exec.kernel: {member.kind} cannot ")
        assert any(kind in str(refusal).rpartition("; ")[2] for kind in able), "a refusal names a kernel that can do it"
        pytest.skip(str(refusal))


def both(member, scores):
    """Value and gradients as one function of (q, k, v, do)."""

    def run(q, k, v, do):
        out, pull = jax.vjp(lambda *x: attend(member, *x, scores), q, k, v)
        return out, *pull(do)

    return run


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_equal_the_plain_formula(member, name):
    *arrays, scores = case(name)
    got = jax.jit(both(member, scores))(*arrays)
    assert got[0].dtype == arrays[0].dtype
    assert_close(got, plain(*arrays, scores))


PATTERN_CASES = [
    pytest.param(kind, fields, id=" ".join([kind, *(f"{name}={value}" for name, value in fields.items())]))
    for kind in members("pattern")
    for fields in PATTERNS.get(kind, [{}])
]


PACKED_ROWS = {"grouped, segments": (2, ROW | SEGMENTS, np.float32)}
TRIES = PACKED_ROWS | {"restarted": (H, ROW | RESTART | {"numbering": "documents"}, np.float32)}
PLAIN = {"one group, bfloat16": (1, ROW, jnp.bfloat16)}
REST = {"row": (H, ROW, np.float32)}
FIRST_EXAMPLES = "splash", "chunked", "reference", "spans"
"""Of each pattern but the causal one these get the first example on packed rows: jax's own kernel is slow where it is
interpreted, and the others know of a pattern but whom it allows."""
HAND_ON = "auto", "gathered", "ring"
"""These get the causal pattern alone: they hand rows that no mesh splits to another kernel."""
UNPACKED = "cudnn", "cudnn_parts"
"""These refuse packed rows."""


@pytest.mark.often("-causal", "banded window=1", "prefix", "strided stride=3", "-sinks")
@pytest.mark.parametrize(("kind", "fields"), PATTERN_CASES)
def test_every_pattern_grouped_and_packed_in_both_precisions(member, kind, fields):
    """One program a kernel and pattern: plain and grouped heads; rows, segments, restarted positions; float32, bf16.

    Restarted positions with a pattern's first example alone, bfloat16 with the causal one: their way through a kernel
    is the same for all. Unpacked rows are in make slow, but for kernels that take no others.
    """
    first = fields == PATTERNS.get(kind, [{}])[0]
    if (member.kind in FIRST_EXAMPLES and not first) or (member.kind in HAND_ON and kind != "causal"):
        pytest.skip("its further examples are in make slow")
    if member.kind in UNPACKED:
        return check_pattern(member, members("pattern")[kind](**fields), PLAIN | REST)
    tries = TRIES | PLAIN if kind == "causal" else PACKED_ROWS if member.kind in FIRST_EXAMPLES or not first else TRIES
    check_pattern(member, members("pattern")[kind](**fields), tries)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fields"), PATTERN_CASES)
def test_every_pattern_on_unpacked_rows_in_both_precisions(member, kind, fields):
    """Also what the test above leaves out."""
    check_pattern(member, members("pattern")[kind](**fields), TRIES | PLAIN | REST)


def check_pattern(member, pattern, tries):
    held, why = {}, ""
    for name, (groups, _, dtype) in tries.items():
        q, k, v, do = (x.astype(dtype) for x in draw(groups))
        do = do * (PACKED > 0)[:, None, :, None].astype(dtype)  # a padded query's result is nobody's
        held[name] = (q, k, v, do)

    @jax.jit
    def run(held):
        nonlocal why
        found = {}
        for name, arrays in held.items():
            try:
                found[name] = both(member, Scores(**(tries[name][1] | {"pattern": pattern})))(*arrays)
            except pytest.skip.Exception as skipped:
                why = why or str(skipped)
        return found

    got = run(held)
    if not got:
        pytest.skip(why)
    for name, ours in got.items():
        _, changes, dtype = tries[name]
        want = plain(*held[name], Scores(**(changes | {"pattern": pattern})))
        real = (PACKED > 0)[:, None, :, None]
        ours, want = ((x[0] * real, *x[1:]) for x in (ours, want))
        # One key's score has no gradient but for rounding.
        assert_close(ours, want, 1e-5 if dtype == np.float32 else 2e-2, scale=1.0)


SHAPES = st.tuples(st.integers(1, 33), st.sampled_from([1, 2, 4]), st.sampled_from([1, 3, 8]), st.integers(2, 9))
SOME: st.SearchStrategy[Pattern] = st.one_of(
    st.builds(Banded, window=st.integers(1, 40), right=st.integers(0, 3)),
    st.builds(Strided, stride=st.integers(1, 12), factor=st.sampled_from(["both", "column"])),
    st.builds(lambda stride, c: Fixed(stride=stride, summary=min(stride, c)), st.integers(1, 12), st.integers(1, 4)),
    st.just(Causal()),
)


@pytest.mark.parametrize("fast", [BlockSparse, Chunked, Spans])
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(shape=SHAPES, pattern=SOME, soft_cap=st.sampled_from([None, 2.0]))
def test_any_length_and_width_whatever_the_block(fast, shape, pattern, soft_cap):
    length, groups, width, block = shape
    kernel = fast(queries=block, keys=2 * block) if fast is Chunked else fast(block=block)
    rng = np.random.default_rng(length)
    q, k, v, do = (
        rng.standard_normal((1, heads, length, width)).astype(np.float32) for heads in (4, groups, groups, 4)
    )
    at = np.arange(length, dtype=np.int32)
    scores = Scores(pattern, Side(at), Side(at), numbering="row", soft_cap=soft_cap)
    want = plain(q, k, v, do, scores)
    assert_close(jax.jit(both(kernel, scores))(q, k, v, do), want, scale=cancelled(want))  # one key's score has none


def test_rows_without_a_key_are_zero_and_have_zero_gradient(member):
    q, k, v, do, scores = case("rows without a key")
    do[0] = 0
    out, *grads = jax.jit(both(member, scores))(q, k, v, do)
    assert not np.asarray(out)[1].any()
    assert not any(np.asarray(grad).any() for grad in grads)


def test_large_scores_stay_finite(member):
    q, k, v, _, scores = case("soft_cap")
    scores = scores._replace(soft_cap=None, pattern=Strided(stride=4))
    value, grads = jax.jit(jax.value_and_grad(lambda *x: jnp.sum(attend(member, *x, scores)), (0, 1, 2)))(
        1e4 * q, 1e4 * k, v
    )
    assert np.isfinite(value) and all(np.isfinite(grad).all() for grad in grads)


@cache
def gradient_of_a_bias(kernel):
    q, k, v, do, scores = case("t5 and segments")

    def loss(table):
        return jnp.sum(attend(kernel, q, k, v, scores._replace(table_H=table)) * do)

    return jax.jit(jax.grad(loss))(scores.table_H)


def test_a_trained_bias_has_the_references_gradient(member):
    assert_close(gradient_of_a_bias(member), gradient_of_a_bias(Reference()))


@pytest.mark.often("packed")
@pytest.mark.parametrize("packed", [False, True], ids=["row", "packed"])
def test_gradients_reach_exactly_the_keys_that_are_seen(member, packed):
    """d output[t] / d value[s]: zero to the last bit where t may not see s, and not zero where it may."""
    q, k, v, _ = draw()
    scores = Scores(**(ROW | (SEGMENTS if packed else {}) | {"pattern": Strided(stride=5)}))

    @jax.jit
    def reached(v):
        pull = jax.vjp(lambda v: attend(member, q, k, v, scores), v)[1]
        ones = jnp.eye(T)[:, None, None, :, None] * jnp.ones(v.shape)
        return jax.vmap(lambda row: pull(row)[0][:, :, :, 0])(ones)

    flow_BHTS = np.moveaxis(np.asarray(reached(v)), 0, 2)
    seen = scores.pattern.allows(AT[:, None], AT[None]) & (not packed or (PACKED[:, :, None] == PACKED[:, None]))
    np.testing.assert_array_equal(flow_BHTS != 0, np.broadcast_to(np.reshape(seen, (-1, 1, T, T)), flow_BHTS.shape))


def test_seeds_under_vmap_equal_one_at_a_time(member):
    *_, scores = case("multi_query")
    rows = [draw(1, seed=seed) for seed in range(2)]
    together = jax.jit(jax.vmap(both(member, scores)))(*(np.stack(x) for x in zip(*rows, strict=True)))
    for i, arrays in enumerate(rows):
        assert_close(tuple(x[i] for x in together), plain(*arrays, scores))


def test_dropout_zeroes_weights_and_rescales_the_rest(member):
    q, k, *_, scores = case("soft_cap")
    scores = scores._replace(pattern=Bidirectional())
    identity = np.broadcast_to(np.eye(T, dtype=np.float32), (B, H, T, T))  # K == T: the output is the weights
    assert K == T
    whole = np.asarray(jax.jit(lambda: attend(member, q, k, identity, scores))())
    keyed = jax.jit(lambda key: attend(member, q, k, identity, scores._replace(dropout=a_quarter(key))))
    got = np.asarray(keyed(jax.random.key(0)))
    kept = got > 0
    assert 0.2 < 1 - kept.mean() < 0.3
    assert_close(got[kept], (whole / 0.75)[kept])
    assert (np.asarray(keyed(jax.random.key(1))) != got).any()
    np.testing.assert_array_equal(keyed(jax.random.key(0)), got)


@pytest.mark.often("reference", "chunked", "spans", "cudnn")
def test_dropouts_gradient_is_that_of_the_weights_it_kept(member):
    """The kept weights are read off by values that are the identity; with them fixed the gradient is plain algebra."""
    q, k, v, do, scores = case("soft_cap")
    scores = scores._replace(soft_cap=None, dropout=a_quarter(jax.random.key(3)))
    identity = np.broadcast_to(np.eye(T, dtype=np.float32), (B, H, T, T))
    weights, got = jax.jit(lambda: (attend(member, q, k, identity, scores), both(member, scores)(q, k, v, do)[1:]))()
    w, keep = plain(q, k, identity, do, scores)[0], np.asarray(weights) > 0
    keep = keep / 0.75
    dw = np.einsum("bhtk,bhsk->bhts", do, v) * keep
    ds = w * (dw - (w * dw).sum(-1, keepdims=True)) / K**0.5
    want = np.einsum("bhts,bhsk->bhtk", ds, k), np.einsum("bhts,bhtk->bhsk", ds, q)
    assert_close(got, (*want, np.einsum("bhts,bhtk->bhsk", w * keep, do)))
