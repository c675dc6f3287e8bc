"""A step on any mesh equals the step on one device, and fsdp holds a share of the state on each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgpt.train.program import build_model, hyper, program
from jaxgpt.train.step import init_state, train_step

HYPER = {"lr": jnp.float32(1e-2), "weight_decay": jnp.float32(0.1)}
KEY = jax.random.key(3)
MESHES = {
    "data 8": {"data": 8},
    "fsdp 8": {"data": 1, "fsdp": 8},
    "tensor 2 x data 4": {"data": 4, "tensor": 2},
    "fsdp 2 x tensor 2 x data 2": {"data": 2, "fsdp": 2, "tensor": 2},
}


@pytest.fixture(scope="module")
def alone(tiny, weights, batch):
    """The state before, and the state and metrics after one step on one device."""
    run = tiny(**{"exec.layers": "scan"})
    tx = run.optim.build()
    step = train_step(build_model(run), run.objective, tx, run.schedule, run.steps, 1, None)
    state = jax.device_get(init_state(weights(run.model), tx, False))
    return state, *jax.jit(step)(state, batch, KEY, HYPER)


@pytest.mark.parametrize("mesh", MESHES)
def test_equals_one_device(tiny, batch, alone, mesh):
    before, after, metrics = alone
    compiled = program(tiny(**{"exec.layers": "scan", "exec.mesh": MESHES[mesh]}))
    placed = jax.tree.map(lambda leaf, spec: jax.device_put(leaf, spec.sharding), before, compiled.state)
    rows = jax.device_put(batch, compiled.batch)
    got, got_metrics = compiled.step(placed, rows, KEY, hyper(tiny()))
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5)  # noqa: E731
    jax.tree.map(close, got.params, after.params)
    jax.tree.map(close, got_metrics, metrics)
    ways = MESHES[mesh].get("fsdp", 1) * MESHES[mesh].get("tensor", 1)
    whole, held = sum(leaf.nbytes for leaf in jax.tree.leaves(got)), held_by_one_device(got)
    assert held < (1 / ways + 0.1) * whole
    assert held_by_one_device(rows) == sum(leaf.nbytes for leaf in batch.values()) * MESHES[mesh].get("tensor", 1) // 8


def held_by_one_device(tree):
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))
