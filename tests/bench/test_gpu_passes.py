"""bench/gpu_passes.py counts what a program moves and multiplies from its text alone."""

import gzip
import json
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
CARRY = "(s32[], f32[8,64]{1,0}, bf16[4,8,32]{2,1,0}, bf16[64,32]{1,0}, f32[64]{0})"
CONTRACTED = '"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}'
PROGRAM = """HloModule jit_step, is_scheduled=true, num_partitions=1

%fused_scale (a: f32[8,64], b: f32[64]) -> f32[8,64] {
  %a = f32[8,64]{1,0} parameter(0)
  %b = f32[64]{0} parameter(1)
  %wide = f32[8,64]{1,0} broadcast(%b), dimensions={1}
  ROOT %scaled = f32[8,64]{1,0} multiply(%a, %wide)
}

%fused_put (s: bf16[4,8,32], i: s32[], y: bf16[8,32]) -> bf16[4,8,32] {
  %s = bf16[4,8,32]{2,1,0} parameter(0)
  %y = bf16[8,32]{1,0} parameter(2)
  %row = bf16[1,8,32]{2,1,0} bitcast(%y)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %put = bf16[4,8,32]{2,1,0} dynamic-update-slice(%s, %row, %i, %zero, %zero)
}

%body (t: CARRY) -> CARRY {
  %t = CARRY parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %x = f32[8,64]{1,0} get-tuple-element(%t), index=1
  %s = bf16[4,8,32]{2,1,0} get-tuple-element(%t), index=2
  %w = bf16[64,32]{1,0} get-tuple-element(%t), index=3
  %b = f32[64]{0} get-tuple-element(%t), index=4
  %loop_scale_fusion.1 = f32[8,64]{1,0} fusion(%x, %b), calls=%fused_scale, metadata={op_name="jit(step)/scale"}
  %half = bf16[8,64]{1,0} convert(%loop_scale_fusion.1)
  %gemm.1 = (bf16[8,32]{1,0}, s8[99]{0}) custom-call(%half, %w), custom_call_target="__cublas$lt$matmul", x={CONTRACTED}
  %y = bf16[8,32]{1,0} get-tuple-element(%gemm.1), index=0
  %fusion-start = ((bf16[4,8,32], s32[], bf16[8,32]), bf16[4,8,32], u32[]) fusion-start(%s, %i, %y), calls=%fused_put
  %fusion-done = bf16[4,8,32]{2,1,0} fusion-done(%fusion-start)
  ROOT %out = CARRY tuple(%i, %loop_scale_fusion.1, %fusion-done, %w, %b)
}

%condition (t: CARRY) -> pred[] {
  %t = CARRY parameter(0)
  %limit = s32[] constant(4)
  %i = s32[] get-tuple-element(%t), index=0
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

ENTRY %main (x: f32[8,64], w: bf16[64,32], b: f32[64]) -> f32[8,64] {
  %x = f32[8,64]{1,0} parameter(0)
  %w = bf16[64,32]{1,0} parameter(1)
  %b = f32[64]{0} parameter(2)
  %zero = s32[] constant(0)
  %stack = bf16[4,8,32]{2,1,0} custom-call(), custom_call_target="AllocateBuffer"
  %t = CARRY tuple(%zero, %x, %stack, %w, %b)
  %loop = CARRY while(%t), condition=%condition, body=%body
  %y = f32[8,64]{1,0} get-tuple-element(%loop), index=1
  %dot.1 = f32[8,8]{1,0} dot(%y, %y), lhs_contracting_dims={1}, rhs_contracting_dims={1}
  ROOT %loop_scale_fusion.2 = f32[8,64]{1,0} fusion(%y, %b), kind=kLoop, calls=%fused_scale
}
""".replace("CARRY", CARRY).replace("CONTRACTED", CONTRACTED)
F32, BF16, INDEX, TIMES = 4, 2, 4, 4
X, B, ROW, WEIGHT = 8 * 64 * F32, 64 * F32, 8 * 32 * BF16, 64 * 32 * BF16


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import gpu_passes

    return gpu_passes


def test_bytes_and_flops_of_a_fusion_a_loop_and_products(bench):
    rows = {re.split(r" f32| \(| \|", row.what)[0]: row for row in bench.passes(PROGRAM)}
    alone, looped = rows["loop_scale_fusion"], rows["loop loop_scale_fusion"]
    assert (alone.calls, alone.read, alone.written, alone.flops) == (1, X + B, X, 0)
    assert (looped.calls, looped.read, looped.written) == (TIMES, TIMES * (X + B), TIMES * X)
    assert looped.what.endswith("| jit(step)/scale")
    product = rows["loop __cublas$lt$matmul"]
    assert (product.read, product.written) == (TIMES * (X // 2 + WEIGHT), TIMES * ROW), "its scratch is no result"
    assert product.flops == TIMES * 2 * 8 * 64 * 32 and rows["dot"].flops == 2 * 8 * 8 * 64


def test_a_copy_into_a_stack_beside_others_moves_a_row_and_an_empty_stack_nothing(bench):
    rows = {row.what: row for row in bench.passes(PROGRAM)}
    copy = rows["loop fusion-start bf16[4,8,32] | "]
    assert (copy.calls, copy.read, copy.written) == (TIMES, TIMES * (ROW + INDEX), TIMES * (ROW + 3 * INDEX))
    assert not [what for what in rows if "AllocateBuffer" in what or "done" in what]


def called(bench, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["gpu_passes.py", *map(str, words)])
    bench.main()


def test_a_text_is_read_without_a_compiler(bench, monkeypatch, capsys, tmp_path):
    text, figures = tmp_path / "step.hlo.gz", tmp_path / "figures.json"
    text.write_bytes(gzip.compress(PROGRAM.encode()))
    called(bench, monkeypatch, "--read", text, "--min-mb", "0", "--json", figures)
    report = json.loads(figures.read_text())["figures"]
    rows = bench.passes(PROGRAM)
    assert report["read_gb"] == pytest.approx(sum(row.read for row in rows) / 1e9, rel=1e-4)
    assert report["products_ms_at_760T"] == pytest.approx(sum(row.flops for row in rows) / 760e9, rel=1e-4)
    moved = sum(row.read + row.written for row in rows if not row.flops)
    assert report["passes_ms_at_4.2TBs"] == pytest.approx(moved / 4.2e9, rel=1e-4)
    assert "__cublas$lt$matmul" in capsys.readouterr().out


def test_what_lacks_is_named(bench, monkeypatch, capsys):
    def none(name):
        if name != "jax":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(bench.h200, "version", none)
    called(bench, monkeypatch, "configs/gpt2/124m.yaml", "--min-mb", "5", "batch_size=32")
    jax = version("jax")
    wheels = f"jax-cuda13-plugin=={jax} jax-cuda13-pjrt=={jax}"
    assert capsys.readouterr().out == f"skipped: no CUDA plugin; pip install --no-deps {wheels}\n"
    with pytest.raises(SystemExit, match="give a CONFIG or --read FILE"):
        called(bench, monkeypatch)
