"""Splash against `reference`, emulated on the CPU: what one value and gradient show, over everything it takes."""

import jax
import numpy as np
import pytest
from close import assert_close
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.ops.attention import Case, Reference, Scores, Side
from jaxgpt.ops.attention.splash import Splash
from jaxgpt.ops.patterns import (
    Banded,
    Bidirectional,
    Causal,
    Dilated,
    Fixed,
    GlobalWindow,
    Intersection,
    Prefix,
    Strided,
    Union,
)
from jaxgpt.ops.sharding import constraining
from jaxgpt.parallel import Mesh, Standard, placement_of

SPLASH = Splash(block=128, interpret=True)
B, H, K = 2, 4, 8
rng = np.random.default_rng(0)


def case(length, groups, batch=B):
    """Queries, keys, values, and what multiplies the output in the loss."""
    shapes = [(batch, H, length, K), *[(batch, groups, length, K)] * 2, (batch, H, length, K)]
    return [2 * rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def row(pattern, length, **fields):
    at = np.arange(length, dtype=np.int32)
    return Scores(**{"pattern": pattern, "q": Side(at), "k": Side(at), "numbering": "row"} | fields)


def value_and_gradients(kernel, scores):
    def run(q, k, v, mix, segment=None):
        sides = {} if segment is None else {"q": Side(scores.q.pos, segment), "k": Side(scores.k.pos, segment)}
        placed = scores._replace(**sides)
        out, back = jax.vjp(lambda *x: kernel.attend(*x, placed), q, k, v)
        return out, *back(mix)

    return run


def compared(scores, length, groups=H):
    """Both kernels' output and gradients, from one program; their shapes, names and values agree."""
    both = jax.jit(lambda *x: [value_and_gradients(kernel, scores)(*x) for kernel in (SPLASH, Reference())])
    got, want = both(*case(length, groups))
    assert_close(got, want)
    return [np.asarray(x) for x in got]


AT = np.arange(200, dtype=np.int32)
PACKED = np.array([[0] * 70 + [1] * 130, [3] * 128 + [4] * 72], np.int32)
LAST_ROW_EMPTY = np.stack([np.where(np.arange(200) < 150, np.arange(200), -1), np.full(200, -1)]).astype(np.int32)


@pytest.mark.often("causal", "strided", "banded")
@pytest.mark.parametrize(
    ("pattern", "length", "groups", "fields"),
    [
        (Causal(), 256, 2, {"soft_cap": 2.0}),
        (Strided(stride=20), 200, 4, {}),
        (Union(of=(Fixed(stride=64, summary=4), Dilated(window=3, dilation=50))), 256, 1, {}),
        (Prefix(length=30), 130, 2, {}),
        (Banded(window=60), 200, 2, {"q": Side(AT, PACKED), "k": Side(AT, PACKED), "numbering": "documents"}),
    ],
    ids=lambda x: getattr(x, "kind", None),
)
def test_value_and_gradient_equal_the_references(pattern, length, groups, fields):
    compared(row(pattern, length, **fields), length, groups)


@pytest.mark.often("a row of padding")
@pytest.mark.parametrize(
    ("pattern", "length", "fields", "empty"),
    [
        (Bidirectional(), 200, {"k": Side(LAST_ROW_EMPTY)}, np.s_[1]),
        (Fixed(stride=200, summary=8, factor="summary"), 256, {}, np.s_[:, :, :192]),
        (Intersection(of=(Causal(), Fixed(stride=512, factor="summary"))), 128, {}, np.s_[:]),
    ],
    ids=["a row of padding", "a block of queries and more", "a pattern that allows nothing"],
)
def test_queries_without_a_key_are_zero_in_value_and_gradient(pattern, length, fields, empty):
    out, dq, *_ = compared(row(pattern, length, **fields), length)
    assert not out[empty].any() and not dq[empty].any()


def test_sharded_equals_unsharded():
    """Rows over four devices, heads over two, fewer groups than that; nothing but sums crosses between devices."""
    batch, length = 4, 200
    scores = row(GlobalWindow(window=50), length)
    segment = np.sort(rng.integers(0, 3, (batch, length), np.int32), axis=1)
    run = value_and_gradients(SPLASH, scores)
    values = [*case(length, 1, batch), segment]
    want = jax.jit(run)(*values)
    mesh = Mesh(data=2, fsdp=2, tensor=2).build()
    rows, heads = PartitionSpec(("data", "fsdp")), PartitionSpec(("data", "fsdp"), "tensor")
    specs = [heads, rows, rows, heads, rows]
    placed = [jax.device_put(x, NamedSharding(mesh, spec)) for x, spec in zip(values, specs, strict=True)]
    with constraining(placement_of(Standard(), mesh)):
        compiled = jax.jit(lambda *x: run(*x)).lower(*placed).compile()
    assert_close(compiled(*placed), want)
    text = compiled.as_text()
    assert "all-reduce(" in text and not any(name in text for name in ("all-gather(", "all-to-all(", "permute("))
    assert compiled(*placed)[0].sharding.shard_shape((batch, H, length, K)) == (1, 2, length, K)


def test_seeds_fuse_by_vmap():
    scores = row(Causal(), 128)
    q, k, v, _ = case(128, 2, batch=6)
    many = [x.reshape(3, 2, *x.shape[1:]) for x in (q, k, v)]
    run = lambda *x: SPLASH.attend(*x, scores)  # noqa: E731
    whole, fused = jax.jit(lambda: (run(q, k, v), jax.vmap(run)(*many)))()
    assert_close(fused.reshape(whole.shape), whole, 2e-6)


ON_TPU = Case(Causal(), 256, 256, 64, "bfloat16", "tpu", "row")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"platform": "gpu"}, "cannot run on a gpu; use chunked"),
        ({"numbering": "any"}, f"{ON_TPU.why_unknown()}; use chunked"),
        ({"queries": 1}, "cannot attend from 1 queries to 256 keys; use chunked"),
        ({"bias": True}, "cannot add a bias to the scores; use chunked"),
        ({"dropout": True}, "cannot drop attention weights; use chunked"),
        ({"dtype": "float16"}, "cannot compute in float16; use chunked"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_it_refuses_what_it_cannot_do(changed, why):
    assert Splash().refusal(ON_TPU) is None
    assert Splash().refusal(ON_TPU._replace(**changed)) == why
