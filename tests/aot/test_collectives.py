"""Collectives are found, sized and counted: in programs that hold known ones, and in the forms that TPUs print."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxgpt.aot.collectives import Total, collectives, totals
from jaxgpt.aot.hlo import array_bytes, elements, executed, parse

F32 = 4
X = (16, 32)


def mesh():
    return jax.make_mesh((2, 4), ("outer", "inner"), axis_types=(AxisType.Auto,) * 2)


def text(function, spec, out, shape=X):
    """The compiled text of `function` of one float32 array, shard by shard."""
    on = mesh()
    mapped = jax.shard_map(function, mesh=on, in_specs=spec, out_specs=out, check_vma=False)
    x = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(on, spec))
    return jax.jit(mapped).lower(x).compile().as_text()


ROWS, WHOLE = PartitionSpec("inner"), PartitionSpec()
SHIFT = [(i, (i + 1) % 4) for i in range(4)]
CASES = {  # function, what goes in, what comes out, the bytes of the whole value
    "all-reduce": (lambda x: jax.lax.psum(x, "inner"), ROWS, WHOLE, 4 * 32 * F32),
    "all-gather": (lambda x: jax.lax.all_gather(x, "inner", tiled=True), ROWS, WHOLE, 16 * 32 * F32),
    "reduce-scatter": (lambda x: jax.lax.psum_scatter(x, "inner", tiled=True), WHOLE, ROWS, 16 * 32 * F32),
    "all-to-all": (lambda x: jax.lax.all_to_all(x, "inner", 1, 0, tiled=True), ROWS, ROWS, 4 * 32 * F32),
    "collective-permute": (lambda x: jax.lax.ppermute(x, "inner", SHIFT), ROWS, ROWS, 4 * 32 * F32),
}


@pytest.mark.parametrize("kind", CASES)
def test_one_of_each_kind(kind):
    function, spec, out, size = CASES[kind]
    (found,) = collectives(text(function, spec, out))
    assert (found.kind, found.bytes, found.group, found.times) == (kind, size, 4, 1)
    assert sorted(found.members) == [0, 1, 2, 3]


def test_members_are_those_of_the_axis():
    (found,) = collectives(text(lambda x: jax.lax.psum(x, "outer"), PartitionSpec("outer"), WHOLE))
    assert (found.group, found.members) == (2, (0, 4))


def test_a_loop_multiplies_and_loops_within_loops_more():
    def shift(x, _):
        return jax.lax.ppermute(x, "inner", SHIFT), None

    def both(x, _):
        return jax.lax.psum(jax.lax.scan(shift, x, None, 5)[0], "outer"), None

    found = collectives(text(lambda x: jax.lax.scan(both, x, None, 3)[0], ROWS, ROWS))
    assert {one.kind: one.times for one in found} == {"collective-permute": 15, "all-reduce": 3}
    assert totals(found)["collective-permute"] == Total(15, 15 * 4 * 32 * F32)


def test_of_two_branches_only_one_runs():
    def choose(x):
        busy = lambda v: jax.lax.psum(jax.lax.psum(v, "inner") * 2, "outer")  # noqa: E731
        return jax.lax.cond(x[0, 0] > 0, busy, lambda v: jax.lax.psum(v, ("inner", "outer")), x)

    found = collectives(text(choose, WHOLE, WHOLE))
    assert sorted(one.group for one in found) == [2, 4]


def test_the_partitioner_s_own_are_found_too():
    on = mesh()
    rows, columns = NamedSharding(on, PartitionSpec("inner")), NamedSharding(on, PartitionSpec(None, "inner"))
    a, b = jax.ShapeDtypeStruct((16, 32), jnp.float32), jax.ShapeDtypeStruct((32, 8), jnp.float32)
    compiled = jax.jit(jnp.matmul, in_shardings=(columns, rows)).lower(a, b).compile()
    assert totals(collectives(compiled.as_text())) == {"all-reduce": Total(1, 16 * 8 * F32)}


def test_a_program_of_one_device_has_none():
    assert collectives(jax.jit(jnp.sin).lower(jnp.ones(3)).compile().as_text()) == []


ASYNC = """HloModule jit_step, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(256)} parameter(0)
  %b = f32[]{:T(256)} parameter(1)
  ROOT %sum = f32[]{:T(256)} add(%a, %b)
}

%all-reduce-scatter.1 (p: bf16[64,16]) -> bf16[16,16] {
  %p = bf16[64,16]{1,0:T(8,128)(2,1)} parameter(0)
  %all-reduce.2 = bf16[64,16]{1,0:T(8,128)(2,1)} all-reduce(%p), replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %slice = bf16[16,16]{1,0:T(8,128)(2,1)} dynamic-slice(%all-reduce.2), dynamic_slice_sizes={16,16}
}

%body (t: (s32[], bf16[16,16])) -> (s32[], bf16[16,16]) {
  %t = (s32[]{:T(128)}, bf16[16,16]{1,0:T(8,128)(2,1)}) parameter(0)
  %x = bf16[16,16]{1,0:T(8,128)(2,1)} get-tuple-element(%t), index=1
  %ag = (bf16[16,16]{1,0}, bf16[64,16]{1,0:S(1)}) all-gather-start(%x), replica_groups={{0,2,4,6},{1,3,5,7}}
  %done = bf16[64,16]{1,0:T(8,128)(2,1)S(1)} all-gather-done(%ag), metadata={op_name="jit(step)/while/matmul"}
  %fusion = bf16[16,16]{1,0} fusion(%done), kind=kCustom, calls=%all-reduce-scatter.1
  %i = s32[]{:T(128)} get-tuple-element(%t), index=0
  ROOT %out = (s32[]{:T(128)}, bf16[16,16]{1,0:T(8,128)(2,1)}) tuple(%i, %fusion)
}

%condition (t: (s32[], bf16[16,16])) -> pred[] {
  %t = (s32[]{:T(128)}, bf16[16,16]{1,0:T(8,128)(2,1)}) parameter(0)
  %limit = s32[]{:T(128)} constant(12)
  %i = s32[]{:T(128)} get-tuple-element(%t), index=0
  ROOT %less = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

ENTRY %main.3 (x: bf16[16,16]) -> bf16[16,16] {
  %x = bf16[16,16]{1,0:T(8,128)(2,1)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %t = (s32[]{:T(128)}, bf16[16,16]{1,0:T(8,128)(2,1)}) tuple(%zero, %x)
  %loop = (s32[], bf16[16,16]{1,0}) while(%t), condition=%condition, body=%body
  %y = bf16[16,16]{1,0:T(8,128)(2,1)} get-tuple-element(%loop), index=1
  %both = (f32[8]{0}, f32[]) all-reduce-start(%y, %zero), replica_groups=[4,2]<=[2,4]T(1,0), to_apply=%add
  %sent = (bf16[16,16], bf16[16,16], u32[], u32[]) collective-permute-start(%y), source_target_pairs={{0,1},{1,2}}
  %alone = bf16[16,16] all-reduce(%y), replica_groups=[8,1]<=[8], to_apply=%add
  ROOT %everyone = bf16[16,16]{1,0} all-reduce(%y), replica_groups={}, to_apply=%add
}
"""


def test_the_forms_that_tpus_print():
    found = collectives(ASYNC)
    assert [(one.kind, one.bytes, one.times, one.members) for one in found] == [
        ("all-gather", 64 * 16 * 2, 12, (0, 2, 4, 6)),
        ("reduce-scatter", 64 * 16 * 2, 12, (0, 1, 2, 3)),
        ("all-reduce", 8 * 4 + 4, 1, (0, 4)),
        ("collective-permute", 16 * 16 * 2, 1, (0, 1, 2)),
        ("all-reduce", 16 * 16 * 2, 1, tuple(range(8))),
    ]


def test_the_groups_that_tpus_print():
    line = "  ROOT %x = f32[8]{{0}} all-gather(%a), channel_id=1, replica_groups={}, dimensions={{0}}"
    head = "HloModule m, num_partitions=8\n\nENTRY %main (a: f32[4]) -> f32[8] {\n  %a = f32[4]{0} parameter(0)\n"

    def members(groups):
        (found,) = collectives(head + line.format(groups) + "\n}\n")
        return found.members

    assert members("mesh['axis_0'=2,'axis_1'=4] {'axis_0'}") == (0, 4)
    assert members("mesh['axis_0'=2,'axis_1'=2,'axis_2'=2] {'axis_0','axis_2'}") == (0, 1, 4, 5)
    assert members("mesh['axis_0'=8] {'axis_0':(2)2}") == (0, 2)
    assert members("mesh['axis_0'=2,'axis_1'=4], device_ids=([4,2]T(1,0)) {'axis_1'}") == (0, 2, 4, 6)
    assert members("mesh['axis_0'=2,'axis_1'=2], device_ids=(3,1,2,0) {'axis_1'}") == (3, 1)


def test_one_that_runs_beside_other_work_is_shown_thrice_and_counted_once():
    gather = (
        "  ROOT %ag.{0} = f32[8]{{0}} all-gather(%p.{0}), channel_id=9, replica_groups={{{{0,1}}}}, "
        'frontend_attributes={{chain_id="4"}}'
    )
    inner = "%part.{0} (p: f32[4]) -> f32[8] {{\n  %p.{0} = f32[4]{{0}} parameter(0)\n" + gather + "\n}}\n\n"
    calls = "".join(f"  %f.{i} = f32[8]{{0}} fusion(%a), kind=kCustom, calls=%part.{i}\n" for i in range(3))
    text = "HloModule m, num_partitions=2\n\n" + "".join(inner.format(i) for i in range(3))
    (found,) = collectives(
        text + "ENTRY %main (a: f32[4]) -> f32[8] {\n  %a = f32[4]{0} parameter(0)\n" + calls + "}\n"
    )
    assert found.bytes == 32


def test_fusions_are_looked_into_only_when_asked():
    opcodes = lambda **how: [one.opcode for _, one, _ in executed(parse(ASYNC), **how)]  # noqa: E731
    assert "dynamic-slice" not in opcodes() and "dynamic-slice" in opcodes(fusions=True)


def test_shapes_are_read():
    assert array_bytes("(f32[8,128]{1,0:T(8,128)}, /*index=1*/pred[3], bf16[], token[])") == 8 * 128 * 4 + 3 + 2
    assert array_bytes("f8e4m3fn[7]{0}") == 7 and array_bytes("s4[7]") == 4
    assert array_bytes("(f32[8]{0:T(128)S(1)}, f32[2])", fast=False) == 8
    assert elements("((f32[2]{0:T(128)}, s32[]), /*index=1*/bf16[4,4]{1,0})") == [
        "(f32[2]{0:T(128)}, s32[])",
        "bf16[4,4]{1,0}",
    ]


def test_what_is_no_program_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        collectives("HloModule nothing")
