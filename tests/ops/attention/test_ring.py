"""Tokens split over devices: `ring` and `gathered` equal `reference`, and send what they must and no more."""

import re
from collections import Counter
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from jax.sharding import NamedSharding, PartitionSpec
from rarely import mostly

from jaxgpt.aot.collectives import collectives
from jaxgpt.ops.attention import (
    AttentionDropout,
    Auto,
    Chunked,
    Gathered,
    Reference,
    Ring,
    Scores,
    Side,
    Splash,
    case_of_call,
)
from jaxgpt.ops.patterns import Banded, Bidirectional, Causal, Fixed, PerHead, Strided
from jaxgpt.ops.positions import ALiBi, RelativeBias
from jaxgpt.ops.sharding import Placement, constraining
from jaxgpt.parallel import Mesh

B, H, T, K = 2, 4, 112, 8
HEADS = PartitionSpec("data", "tensor", "sequence", None)
BLOCKS = Chunked(queries=4, keys=3)
KERNELS = [Ring(inner=BLOCKS), Gathered(inner=BLOCKS)]
rng = np.random.default_rng(0)
AT = np.arange(T, dtype=np.int32)
SEGMENT = np.stack([AT // 50, np.minimum(AT // 31, 2)]).astype(np.int32)
RESTARTED = np.stack([AT % 50, AT - 31 * SEGMENT[1]]).astype(np.int32)
PACKED = {"q": Side(AT, SEGMENT), "k": Side(AT, SEGMENT)}
DOCUMENTS = {"q": Side(RESTARTED, SEGMENT), "k": Side(RESTARTED, SEGMENT), "numbering": "documents"}
T5 = RelativeBias(buckets=8, max_distance=40)
T5_TABLE = rng.standard_normal((H, 8)).astype(np.float32)
CASES = {
    "causal": (H, {"pattern": Causal()}),
    "banded": (2, {"pattern": Banded(window=9)}),
    "two-sided band, soft cap": (H, {"pattern": Banded(window=5, right=4), "soft_cap": 1.0}),
    "strided, one group": (1, {"pattern": Strided(stride=16)}),
    "fixed, alibi": (2, {"pattern": Fixed(stride=16, summary=3), "position": ALiBi(), "table_H": ALiBi().table(H)}),
    "documents": (2, {"pattern": Causal(), **DOCUMENTS}),
    "fixed by document": (H, {"pattern": Fixed(stride=16, summary=3), **DOCUMENTS}),
    "segments, t5": (H, {"pattern": Causal(), "position": T5, "table_H": T5_TABLE, **PACKED}),
    "empty keys": (
        2,
        {"pattern": Bidirectional(), "k": Side(np.stack([AT, np.where(AT < 60, AT, -1)])), "numbering": "any"},
    ),
    "per head": (2, {"pattern": PerHead(of=(Causal(), Banded(window=9)))}),
}


def on(**sizes):
    """A placement whose heads are split as the standard rules split them."""
    return Placement(Mesh(**sizes).build(), lambda path, shape: HEADS if path == "activations/heads" else None)


def scores_of(fields):
    return Scores(**{"q": Side(AT), "k": Side(AT), "numbering": "row"} | fields)


def draw(groups=H, length=T, dtype=np.float32):
    shapes = (B, H, length, K), (B, groups, length, K), (B, groups, length, K), (B, H, length, K)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def both(kernel, scores, placement=None):
    """Output and gradients of queries, keys, values and a trained table."""

    def run(q, k, v, do):
        trained = scores.position is not None and scores.position.trained
        table = jnp.asarray(scores.table_H) if trained else None

        def out(q, k, v, table):
            return kernel.attend(q, k, v, scores._replace(table_H=table) if trained else scores)

        with constraining(placement):
            out, pull = jax.vjp(out, q, k, v, table)
            return out, *pull(do)

    return run


def put(placement, arrays):
    """Where the rules put heads; groups that an axis does not divide are whole."""
    tensor = placement.size("tensor")
    specs = [HEADS if x.shape[1] % tensor == 0 else PartitionSpec("data", None, "sequence") for x in arrays]
    return [jax.device_put(x, NamedSharding(placement.mesh, spec)) for x, spec in zip(arrays, specs, strict=True)]


EVERYWHERE = "causal", "banded", "segments, t5"
OFTEN = "segments, t5", "per head", "documents", "strided, one group"
MESHES = [{"data": 2, "sequence": 4}, {"data": 1, "sequence": 8}, {"data": 1, "sequence": 4, "tensor": 2}]
ids = lambda x: " x ".join(f"{axis} {size}" for axis, size in x.items()) if isinstance(x, dict) else None  # noqa: E731


@lru_cache
def expected(name):
    """A case's scores, arrays and what the reference makes of them."""
    groups, fields = CASES[name]
    scores, arrays = scores_of(fields), draw(groups)
    return scores, arrays, jax.jit(both(Reference(), scores))(*arrays)


@pytest.mark.often(
    "causal-data 1 x sequence 8-ring", "segments, t5", "documents-data 1 x sequence 4 x tensor 2-gathered"
)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.kind)
@pytest.mark.parametrize(
    ("name", "sizes"),
    mostly(
        [*((name, MESHES[2]) for name in CASES), *((name, MESHES[1]) for name in EVERYWHERE), ("causal", MESHES[0])],
        *((name, MESHES[2]) for name in OFTEN),
        ("causal", MESHES[1]),
    ),
    ids=ids,
)
def test_value_and_gradients_equal_the_references(name, sizes, kernel):
    scores, arrays, want = expected(name)
    placement = on(**sizes)
    assert_close(jax.jit(both(kernel, scores, placement))(*put(placement, arrays)), want)


def test_sixteen_bits_are_summed_in_thirty_two():
    placement, arrays = on(sequence=8), draw(2, dtype=jnp.bfloat16)
    got = jax.jit(both(KERNELS[0], scores_of({"pattern": Causal()}), placement))(*put(placement, arrays))
    assert all(x.dtype == jnp.bfloat16 for x in got[:4])
    want = jax.jit(both(Reference(), scores_of({"pattern": Causal()})))(*(x.astype(np.float32) for x in arrays))
    assert_close(got, want, 3e-2)


COLLECTIVES = {
    "all_gather": "all-gather",
    "all_to_all": "all-to-all",
    "ppermute": "collective-permute",
    "psum": "all-reduce",
    "reduce_scatter": "reduce-scatter",
}


def ran(jaxpr, times=1):
    """How often a program runs each collective."""
    counts = Counter()
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in COLLECTIVES:
            counts[eqn.primitive.name] += times * len(eqn.invars)
        for inner in jax.tree.leaves([*eqn.params.values()], is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(inner, "eqns"):
                counts += ran(inner, times * eqn.params.get("length", 1))
    return counts


def sent(kernel, pattern, backward, **sizes):
    """The collectives a program runs, and the text it is compiled to, which holds no other."""
    placement, scores = on(**sizes), scores_of({"pattern": pattern})

    def forward(q, k, v, _):
        with constraining(placement):
            return kernel.attend(q, k, v, scores)

    run = both(kernel, scores, placement) if backward else forward
    where = NamedSharding(placement.mesh, HEADS)
    x = jax.ShapeDtypeStruct((B, H, T, K), np.float32, sharding=where)
    traced = jax.jit(run).trace(x, x, x, x)
    counts, made = ran(traced.jaxpr), traced.lower().compile()
    assert all(out.is_equivalent_to(where, 4) for out in jax.tree.leaves(made.output_shardings))
    for name, op in COLLECTIVES.items():
        found = len(re.findall(rf" {op}(?:-start)?\(", made.as_text()))
        assert found <= counts[name] and (found > 0) == (counts[name] > 0)
    return dict(counts), made.as_text()


@pytest.mark.often("causal", "banded-2-6")
@pytest.mark.parametrize(
    ("pattern", "forward", "backward"),
    [
        # queries, keys and values in (3 · 2), keys and values around (2 · 7), outputs back (2);
        # gradients and their products with outputs in (4), keys, values around (14), their gradients home (16), out (6)
        (Causal(), 22, 40),
        # keys and values once; back: those, and their gradients there and home
        (Banded(window=9), 2, 6),
        (Banded(window=1), 0, 0),
        # in balance as it is
        (Bidirectional(), 14, 30),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_ring_holds_exactly_its_permutes_and_never_a_whole_row(pattern, forward, backward):
    for count, back in ((forward, False), (forward + backward, True)):
        counts, text = sent(KERNELS[0], pattern, back, sequence=8)
        assert counts == ({"ppermute": count} if count else {})
        assert not re.search(rf"f32\[[\d,]*\b{T}\b", text)


def test_rows_and_heads_of_other_devices_are_none_of_its_business():
    counts, _ = sent(KERNELS[0], Causal(), True, data=1, sequence=4, tensor=2)
    assert counts == {"ppermute": (6 + 2 * 3 + 2) + (4 + 2 * 3 + 2 * 4 + 6)}


def test_gathered_gathers_keys_and_values_and_scatters_their_gradients():
    assert sent(KERNELS[1], Causal(), False, sequence=8)[0] == {"all_gather": 2}
    assert sent(KERNELS[1], Causal(), True, sequence=8)[0] == {"all_gather": 4, "reduce_scatter": 2}


@pytest.mark.often("[ring]")
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.kind)
def test_stages_are_mapped_over_an_axis_of_their_own(kernel):
    """vmap over pipeline stages, each on its own devices: nothing crosses between stages."""
    placement, scores = on(pipeline=2, sequence=4, data=1), scores_of({"pattern": Causal(), **PACKED})
    stages = [np.stack(pair) for pair in zip(draw(2), draw(2), strict=True)]
    run = both(kernel, scores, placement)
    mapped = jax.jit(jax.vmap(lambda *x: run(*x)[:4], spmd_axis_name="pipeline"))
    spec = NamedSharding(placement.mesh, PartitionSpec("pipeline", *HEADS))
    made = mapped.lower(*(jax.device_put(x, spec) for x in stages)).compile()
    got = made(*(jax.device_put(x, spec) for x in stages))
    want = jax.jit(jax.vmap(both(Reference(), scores)))(*stages)[:4]
    assert_close(got, want)
    moved = collectives(made.as_text())
    assert moved and all(one.members and len({device // 4 for device in one.members}) == 1 for one in moved)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.kind)
def test_rows_that_devices_do_not_share_are_left_to_the_inner_kernel(kernel):
    arrays, at = draw(length=9), np.arange(9, dtype=np.int32)
    scores = Scores(Causal(), Side(at), Side(at), numbering="row")
    placement = Placement(Mesh(sequence=8).build(), lambda path, shape: PartitionSpec())
    got = jax.jit(both(kernel, scores, placement))(*arrays)
    assert_close(got, jax.jit(both(BLOCKS, scores))(*arrays), 0)


@pytest.mark.often("[ring]")
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.kind)
def test_dropouts_gradient_is_that_of_the_weights_it_kept(kernel):
    """Values that are the identity show the weights; with those that were kept the gradient is plain algebra."""
    length, placement = 16, on(data=2, sequence=4)
    q, k, v, do = (rng.standard_normal((B, H, length, length)).astype(np.float32) for _ in range(4))
    at = np.arange(length, dtype=np.int32)
    dropout = AttentionDropout(jax.random.key_data(jax.random.key(0)), jnp.float32(0.25))
    scores = Scores(Bidirectional(), Side(at), Side(at), numbering="row", dropout=dropout)
    identity = np.broadcast_to(np.eye(length, dtype=np.float32), v.shape)
    run = jax.jit(both(kernel, scores, placement))
    weights = np.asarray(run(q, k, identity, do)[0])
    w = np.asarray(jax.jit(both(Reference(), scores._replace(dropout=None)))(q, k, identity, do)[0])
    keep = (weights > 0) / 0.75
    assert 0.2 < 1 - (keep > 0).mean() < 0.3
    halves = keep.reshape(B, H, 2, 8, 2, 8) > 0
    assert len({half.tobytes() for half in np.moveaxis(halves, 3, 4).reshape(-1, 64)}) == B * H * 4
    assert_close(weights, w * keep, 2e-6)
    dw = np.einsum("bhtk,bhsk->bhts", do, v) * keep
    ds = w * (dw - (w * dw).sum(-1, keepdims=True)) / length**0.5
    want = w * keep @ v, ds @ k, np.swapaxes(ds, 2, 3) @ q, np.swapaxes(w * keep, 2, 3) @ do
    assert_close(run(q, k, v, do)[:4], want)


def test_auto_takes_the_ring_where_tokens_are_split():
    scores, shape = scores_of({"pattern": Causal()}), jax.ShapeDtypeStruct((B, H, T, K), np.float32)
    assert Auto().choose(case_of_call(shape, shape, scores)).kind != "ring"
    with constraining(on(sequence=8)):
        case = case_of_call(shape, shape, scores)
    assert case.token_parts == 8 and Auto().choose(case).kind == "ring"


def test_gathered_refuses_what_its_inner_kernel_cannot_do():
    shape = jax.ShapeDtypeStruct((B, H, T, K), np.float32)
    with constraining(on(sequence=8)):
        case = case_of_call(shape, shape, scores_of({"pattern": Causal()}))
    why = Gathered(inner=Splash(interpret=True)).refusal(case)
    assert why == f"cannot compute by splash, which {case._replace(numbering='any').why_unknown()}; use chunked"
