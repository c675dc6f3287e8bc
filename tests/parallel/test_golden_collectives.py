"""Exactly the collectives that each strategy needs, and none besides: kinds, how often, and bytes, by the papers.

XLA:CPU has no pass that turns a sum and each device's slice of it into a reduce-scatter, so ZeRO's reduce-scatter reads
as an all-reduce here. Nor does it add sums before it shares them: a tied table's two gradients are shared one by one,
so the table here is not tied.
"""

import jax
import pytest
from rarely import rarely

from jaxgpt.aot.collectives import collectives, totals
from jaxgpt.train.compiled_step import batch_shapes
from jaxgpt.train.program import hyper, program

L, B, T, D, V = 4, 16, 32, 32, 512
MODEL = {
    "model.num_layers": L, "model.d_model": D, "model.num_heads": 8, "model.context": T, "model.vocab_size": V,
    "model.tied": False, "batch_size": B, "exec.layers": "scan",
}  # fmt: skip
MOE = {"model.feed_forward": {"kind": "moe", "num_experts": 8, "top_k": 2, "expert": {"kind": "mlp", "d_ff": 32}}}
PLAIN = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "clip": None}
"""Quick to compile, where it does not matter what an optimiser keeps."""
STREAM = B * T * D * 4
"""Bytes of the residual stream."""
LOGITS = B * T * V * 4
SCALARS = 512
"""What losses, weights and gradient norms may add."""


@pytest.fixture(scope="module")
def compiled(tiny):
    """`compiled(**overrides)`: the run, and the collectives of its step."""

    def go(**overrides):
        optim = {} if "fsdp" in overrides.get("exec.mesh", {}) else {"optim": PLAIN}
        run = tiny(**(MODEL | optim | overrides))
        held = program(run)
        rows = batch_shapes(run, held)
        key = jax.eval_shape(lambda: jax.random.key(0))
        text = held.step.lower(held.state, rows, key, hyper(run)).compile().as_text()
        found = collectives(text)
        assert found and all(one.bytes < LOGITS for one in found), "logits are gathered or summed whole"
        return run, found

    return go


def bytes_of(run):
    return 4 * run.model.count()


def in_layers(found, kind, size=STREAM):
    """How often each layer does it, forward and backward, with values of the stream's size or more."""
    times = [one.times for one in found if one.kind == kind and "blocks" in one.source and one.bytes >= size]
    assert sum(times) % L == 0
    back = [one for one in found if one.kind == kind and "transpose" in one.source and "blocks" in one.source]
    backward = sum(one.times for one in back if one.bytes >= size)
    return (sum(times) - backward) // L, backward // L


def test_data_parallel_sums_each_gradient_once(compiled):
    run, found = compiled(**{"exec.rules": "replicated"})
    assert totals(found).keys() == {"all-reduce"}
    assert 0 <= totals(found)["all-reduce"].bytes - bytes_of(run) <= SCALARS


@pytest.mark.parametrize("stage", [rarely(1), 2])
def test_zero_1_and_2_sum_gradients_and_gather_parameters_once(compiled, stage):
    run, found = compiled(**{"exec.mesh": {"fsdp": 8}, "exec.rules": {"kind": "zero", "stage": stage}})
    seen = totals(found)
    assert seen.keys() == {"all-reduce", "all-gather"}
    assert 0 <= seen["all-reduce"].bytes - bytes_of(run) <= SCALARS
    assert seen["all-gather"].bytes == bytes_of(run)


def test_zero_3_gathers_each_layer_twice(compiled):
    """Forward and backward (section 7.2.2: 3 times the parameters in all); what no gradient needs, once."""
    run, found = compiled(**{"exec.mesh": {"fsdp": 8}, "exec.rules": {"kind": "zero", "stage": 3}})
    seen = totals(found)
    assert seen.keys() == {"all-reduce", "all-gather"}
    positions = 4 * T * D  # their table lies in rows, and is gathered as a sum over what others have not
    assert 0 <= seen["all-reduce"].bytes - bytes_of(run) - positions <= SCALARS
    assert 1.5 * bytes_of(run) < seen["all-gather"].bytes <= 2 * bytes_of(run)
    whole = 4 * L * D * D  # one matrix of all layers: they are gathered layer by layer
    assert max(one.bytes for one in found if one.kind == "all-gather" and "blocks" in one.source) <= whole


def test_megatron_sums_twice_a_block_each_way(compiled):
    _, found = compiled(**{"exec.mesh": {"tensor": 8}, "exec.rules": "megatron"})
    assert totals(found).keys() == {"all-reduce"}
    assert in_layers(found, "all-reduce") == (2, 2)


def test_a_split_vocabulary_is_reduced_where_it_lies(compiled, monkeypatch):
    """In one pass and with padded columns, as on a GPU: the parts' sums meet, never the logits."""
    for module in ("lookup", "token_statistics"):
        monkeypatch.setattr(f"jaxgpt.ops.{module}.platform", lambda: "gpu")
    mesh = {"exec.mesh": {"tensor": 8}, "exec.rules": "megatron", "model.vocab_size": V - 8}
    _, found = compiled(**mesh)
    gathered = [one.bytes for one in found if one.kind == "all-gather"]
    assert gathered == 3 * [8 * B * T * 4], "three numbers a token from each device"
    assert in_layers(found, "all-reduce") == (2, 2)


def test_split_norms_gather_and_sum_twice_a_block_each_way(compiled):
    rules = {"kind": "megatron", "sequence_norms": True}
    _, found = compiled(**{"exec.mesh": {"tensor": 8}, "exec.rules": rules})
    assert totals(found).keys() == {"all-reduce", "all-gather"}
    assert in_layers(found, "all-gather") == (2, 2)
    assert in_layers(found, "all-reduce") == (2, 2)


def test_ring_sends_keys_and_values_on(compiled):
    run, found = compiled(**{"exec.mesh": {"sequence": 8}})
    seen = totals(found)
    assert seen.keys() == {"all-reduce", "collective-permute"}
    assert 0 <= seen["all-reduce"].bytes - bytes_of(run) <= SCALARS
    assert max(one.bytes for one in found if one.kind == "collective-permute") <= STREAM // 8


def test_pipeline_sends_the_stream_on_once_a_tick(compiled):
    _, found = compiled(**{"exec.mesh": {"pipeline": 4, "data": 2}, "exec.pipeline.microbatches": 8})
    permutes = [one for one in found if one.kind == "collective-permute"]
    assert totals(found).keys() == {"all-reduce", "collective-permute"}
    ticks = 8 + 4 - 1
    assert [one.times for one in permutes] == [ticks, ticks]
    assert {one.bytes for one in permutes} == {STREAM // 8 // 2}


def test_experts_exchange_twice_a_block_each_way(compiled):
    run, found = compiled(**(MOE | {"exec.mesh": {"expert": 8}}))
    seen = totals(found)
    assert seen.keys() == {"all-reduce", "all-to-all"}
    assert sum(in_layers(found, "all-to-all", 0)) == 4
    experts = 4 * sum(
        leaf.size for leaf in jax.tree.leaves(run.model.shapes()["blocks"]["layers"]["feed_forward"]["experts"])
    )
    assert 0 <= seen["all-reduce"].bytes - (bytes_of(run) - experts) <= SCALARS + 4 * L * 64
