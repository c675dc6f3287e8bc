"""What a CPU's compiler has no pass for: on TPUs the sum of which each device keeps a slice is one reduce-scatter.

Compiled for a v5e slice of eight; needs libtpu, not a TPU. Left to itself XLA lets parts of a weight go around while
it multiplies by them, and a gather reads as permutes: that is turned off, to count.
"""

from importlib.util import find_spec

import jax
import pytest

from jaxgpt.aot.collectives import collectives, totals
from jaxgpt.aot.topology import slice_devices
from jaxgpt.parallel.chips import parse_slice
from jaxgpt.train.compiled_step import batch_shapes
from jaxgpt.train.program import hyper, program

pytestmark = pytest.mark.tpu
L, B, T, D, V = 4, 32, 512, 512, 4096
MODEL = {
    "model.num_layers": L, "model.d_model": D, "model.num_heads": 8, "model.context": T, "model.vocab_size": V,
    "model.tied": False, "batch_size": B, "exec.layers": "scan",
    "objective": {"kind": "language_model", "chunk": "all"},
}  # fmt: skip
STREAM = B * T * D * 4
"""Bytes of the residual stream."""
APART = {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"}


@pytest.fixture
def compiled(tiny):
    def go(**overrides):
        if find_spec("libtpu") is None:
            pytest.skip("libtpu is not installed: run `make tpu-compile`, or pip install 'jax[tpu]'")
        run = tiny(**(MODEL | overrides))
        held = program(run, slice_devices(parse_slice("v5e:2x4")))
        rows = batch_shapes(run, held)
        key, values = (jax.eval_shape(make) for make in (lambda: jax.random.key(0), lambda: hyper(run)))
        return run, collectives(held.step.lower(held.state, rows, key, values).compile(APART).as_text())

    return go


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_scatters_each_gradient_and_gathers_each_parameter_once(compiled, stage):
    """Vectors are small enough to be summed whole, and kept gathered from forward to backward."""
    run, found = compiled(**{"exec.mesh": {"fsdp": 8}, "exec.rules": {"kind": "zero", "stage": stage}})
    seen, whole = totals(found), 4 * run.model.count()
    assert seen.keys() == {"all-reduce", "all-gather", "reduce-scatter"}
    assert 0.98 * whole <= seen["reduce-scatter"].bytes <= whole
    assert seen["all-reduce"].bytes <= 0.03 * whole
    assert 0.92 * whole <= seen["all-gather"].bytes <= whole


def test_megatron_sums_twice_a_block_each_way(compiled):
    _, found = compiled(**{"exec.mesh": {"tensor": 8}, "exec.rules": "megatron"})
    assert totals(found).keys() == {"all-reduce"}
    blocks = [one for one in found if "blocks" in one.source]
    assert {one.bytes for one in blocks} == {STREAM}
    backward = sum(one.times for one in blocks if "transpose" in one.source)
    assert (sum(one.times for one in blocks) - backward, backward) == (2 * L, 2 * L)
