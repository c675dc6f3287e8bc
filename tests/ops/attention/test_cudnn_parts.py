"""Calls joined by their log-sums: exact on a CPU with the calls written out, and lowered for a GPU that is not here."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.ops.attention import Case, CudnnParts, Reference, Scores, Side
from jaxgpt.ops.attention.cudnn_parts import fused, plain
from jaxgpt.ops.patterns import Banded, Causal, Dilated, Fixed, GlobalWindow, Mask, Sinks, Strided, Union
from jaxgpt.ops.sharding import constraining
from jaxgpt.parallel import Mesh, Standard, placement_of

PARTS = CudnnParts(interpret=True)
B, H, K = 2, 4, 8
rng = np.random.default_rng(0)


def draw(length, groups, dtype=np.float32, batch=B):
    shapes = [(batch, H, length, K), *[(batch, groups, length, K)] * 2, (batch, H, length, K)]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def row(pattern, length):
    at = np.arange(length, dtype=np.int32)
    return Scores(pattern, Side(at), Side(at), numbering="row")


def value_and_gradients(kernel, scores):
    def run(q, k, v, do):
        out, pull = jax.vjp(lambda *x: kernel.attend(*x, scores), q, k, v)
        return out, *pull(do)

    return run


@pytest.mark.often("strided", "sinks", "union")
@pytest.mark.parametrize(
    ("pattern", "length", "groups"),
    [
        (Strided(stride=8), 67, 2),
        (Fixed(stride=8, summary=3, shift=2), 93, 1),
        (Fixed(stride=8, summary=3, shift=2, factor="summary"), 45, 4),
        (Dilated(window=4, dilation=5, right=2), 61, 2),
        (Sinks(window=9, count=5), 70, 1),
        (GlobalWindow(window=7, count=6), 50, 2),
        (Union(of=(Banded(window=6), Strided(stride=9, factor="column"))), 80, 4),
    ],
    ids=lambda x: getattr(x, "kind", None),
)
def test_value_and_gradient_equal_the_references(pattern, length, groups):
    """At lengths that are no multiple of anything; the first rows of most are in one call only, or in none."""
    scores, values = row(pattern, length), draw(length, groups)
    got, want = jax.jit(lambda *x: [value_and_gradients(kernel, scores)(*x) for kernel in (PARTS, Reference())])(
        *values
    )
    assert_close(got, want)


def test_rows_that_no_call_sees_are_zero():
    pattern = Fixed(stride=16, summary=4, factor="summary")
    out, dq, *_ = jax.jit(value_and_gradients(PARTS, row(pattern, 40)))(*draw(40, 2))
    assert not np.asarray(out)[:, :, :12].any() and not np.asarray(dq)[:, :, :12].any()
    assert np.asarray(out)[:, :, 12:].any(-1).all()


def test_the_joint_log_sums_make_each_calls_gradients_exact():
    """Keys cut in two: a call for each, given output and log-sums of both, adds its share of the whole's gradients."""
    q, k, v, do = (np.swapaxes(x, 1, 2) for x in draw(24, 2))
    full = Mask(causal=False)
    whole = plain.forward(q, k, v, full)
    halves = [plain.forward(q, *half, full) for half in ((k[:, :9], v[:, :9]), (k[:, 9:], v[:, 9:]))]
    log_sum = np.logaddexp(halves[0][1], halves[1][1])
    assert_close(log_sum, whole[1])
    out = sum(o * np.exp(log - log_sum).swapaxes(1, 2)[..., None] for o, log in halves)
    assert_close(out, whole[0])
    want = plain.backward(q, k, v, *whole, do, full)
    first, second = (plain.backward(q, k[:, cut], v[:, cut], out, log_sum, do, full) for cut in (np.s_[:9], np.s_[9:]))
    assert_close(first[0] + second[0], want[0])
    assert_close(tuple(np.concatenate([first[i], second[i]], axis=1) for i in (1, 2)), want[1:])


def test_sharded_equals_unsharded():
    """Rows over four devices, heads over two; nothing but sums crosses between devices."""
    run, values = value_and_gradients(PARTS, row(Strided(stride=8), 40)), draw(40, 2, batch=4)
    want = jax.jit(run)(*values)
    mesh = Mesh(data=2, fsdp=2, tensor=2).build()
    heads = PartitionSpec(("data", "fsdp"), "tensor")
    placed = [jax.device_put(x, NamedSharding(mesh, heads)) for x in values]
    with constraining(placement_of(Standard(), mesh)):
        compiled = jax.jit(lambda *x: run(*x)).lower(*placed).compile()
    assert_close(compiled(*placed), want)
    assert not any(name in compiled.as_text() for name in ("all-gather(", "all-to-all(", "permute("))


def lowered(pattern, length, groups=2, seeds=None):
    """The program that a GPU would get, forward and backward, bfloat16; for so many fused `seeds`."""
    scores, kernel = row(pattern, length), CudnnParts()
    case = Case(pattern, length, length, 64, "bfloat16", "gpu", "row")
    shapes = [(1, heads, length, 64) for heads in (H, groups, groups, H)]

    def run(q, k, v, do):
        out, pull = jax.vjp(lambda *x: kernel.compute(*x, scores, case), q, k, v)
        return out, *pull(do)

    if seeds is not None:
        run, shapes = jax.vmap(run), [(seeds, *shape) for shape in shapes]
    values = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
    return jax.jit(run).trace(*values).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize(
    ("pattern", "windows"),
    [
        (Strided(stride=8), {("CAUSAL", 9), ("CAUSAL", 0)}),
        (Fixed(stride=128, summary=64), {("CAUSAL", 0), ("NO_MASK", 0)}),
        (Dilated(window=16, dilation=8), {("CAUSAL", 16)}),
    ],
    ids=lambda x: getattr(x, "kind", None),
)
def test_a_gpu_gets_cudnns_calls(pattern, windows):
    """Once forward and once backward each; no scores are written out."""
    text = lowered(pattern, 512)
    calls = [line for line in text.splitlines() if "custom_call @__cudnn$" in line]
    assert text.count("@__cudnn$fmhaSoftmaxBackward(") == text.count("@__cudnn$fmhaSoftmax(") == len(calls) / 2 > 0
    asked = [
        (re.search(r"mask_type\\22: \\22(\w+)", line), re.search(r"window_length\\22: (\d+)", line)) for line in calls
    ]
    assert {(mask[1], int(window[1])) for mask, window in asked} == windows
    assert all("bf16" in line and re.search(r"tensor<\d+x\d+x\d+xf32>", line) for line in calls)
    assert "dot_general" not in text
    scales = {re.search(r"fmha_scale\\22: ([\d.]+)", line)[1] for line in calls}
    assert scales == {"0.125"}


@pytest.mark.parametrize("pattern", [Strided(stride=8), Fixed(stride=128, summary=64)], ids=lambda x: x.kind)
def test_fused_seeds_are_rows_of_the_same_calls(pattern):
    at_once, alone = lowered(pattern, 512, seeds=3), lowered(pattern, 512)
    assert at_once.count("@__cudnn$") == alone.count("@__cudnn$")
    rows = [[int(n) for n in re.findall(r"cudnn.*\) -> \(tensor<(\d+)x", text)] for text in (at_once, alone)]
    assert rows[0] == [3 * n for n in rows[1]] and rows[0]


def test_calls_smaller_than_a_tile_are_written_out():
    text = lowered(Sinks(window=64, count=4), 256)
    assert text.count("@__cudnn$fmhaSoftmax(") == 1 and "dot_general" in text


def test_the_backward_primitive_is_given_what_it_asks_for():
    """Operands of the lowered call: q, k, v, log-sums, gradient, output."""
    q = jax.ShapeDtypeStruct((2, 128, 4, 64), jnp.bfloat16)
    k = jax.ShapeDtypeStruct((2, 192, 2, 64), jnp.bfloat16)
    log = jax.ShapeDtypeStruct((2, 4, 128), jnp.float32)
    run = jax.jit(lambda q, k, v, o, log, do: fused.backward(q, k, v, o, log, do, Mask(causal=False), True))
    text = run.trace(q, k, k, q, log, q).lower(lowering_platforms=("cuda",)).as_text()
    assert "@__cudnn$fmhaSoftmaxBackward(%arg0, %arg1, %arg2, %arg4, %arg5, %arg3)" in text


def test_on_a_mesh_each_device_makes_the_calls_for_its_own_rows_and_heads():
    scores, kernel = row(Strided(stride=8), 256), CudnnParts()
    case = Case(scores.pattern, 256, 256, 64, "bfloat16", "gpu", "row")
    mesh = Mesh(data=2, fsdp=2, tensor=2).build()
    heads = NamedSharding(mesh, PartitionSpec(("data", "fsdp"), "tensor"))
    values = [jax.ShapeDtypeStruct((8, n, 256, 64), jnp.bfloat16, sharding=heads) for n in (4, 2, 2)]

    def run(*x):
        out, pull = jax.vjp(lambda *x: kernel.compute(*x, scores, case), *x)
        return out, *pull(out)

    with constraining(placement_of(Standard(), mesh)):
        text = jax.jit(run).trace(*values).lower(lowering_platforms=("cuda",)).as_text()
    asked = [line for line in text.splitlines() if "custom_call @__cudnn$" in line]
    assert len(asked) == 4 and all("(tensor<2x" in line for line in asked)
    assert sum("tensor<2x256x2x64xbf16>, tensor<2x256x1x64xbf16>" in line for line in asked) == 2


ON_GPU = Case(Strided(stride=128), 4096, 4096, 64, "bfloat16", "gpu", "row")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"pattern": Causal()}, None),
        ({"platform": "cpu"}, "cannot run on a cpu; use chunked"),
        ({"dtype": "float32"}, "cannot compute in float32; set dtype: bfloat16 or use chunked"),
        ({"segments": True}, "cannot keep packed documents apart; use chunked or block_sparse"),
        ({"dropout": True}, "cannot apply dropout to the scores; use chunked or block_sparse"),
        ({"token_parts": 2}, "cannot compute where devices share a row's tokens; use ring"),
        (
            {"pattern": Union(of=(Fixed(stride=64), Causal()))},
            "cannot make pattern 'union' of causal, windowed and whole calls; use block_sparse",
        ),
    ],
    ids=lambda x: next(iter(x), "takes") if isinstance(x, dict) else "",
)
def test_it_refuses_what_it_cannot_do(changed, why):
    assert CudnnParts().refusal(ON_GPU._replace(**changed)) == why


def test_a_jax_without_the_primitives_is_refused(monkeypatch):
    monkeypatch.delattr(fused.library, "_dot_product_attention_bwd_p_wrapper")
    why = CudnnParts().refusal(ON_GPU)
    assert why.startswith("cannot call cuDNN through jax ") and why.endswith("; use block_sparse")
