"""A run saved on one mesh continues on another: parameters to the last bit, the next 50 losses to 1e-5."""

import jax
import numpy as np
import pytest
from close import assert_close
from rarely import mostly, rarely

from jaxgpt.runs.checkpoint.checkpoint import restore, save
from jaxgpt.train.program import hyper, program

PLACES = {
    "8 devices": (8, {"fsdp": 8}),
    "4 devices": (4, {"fsdp": 4}),
    "1 device": (1, {}),
    "data": (8, {"data": 8}),
    "tensor": (8, {"tensor": 2, "data": 4}),
    "zero 1": (8, {"fsdp": 8}),
}
WAYS = [("8 devices", "4 devices", "1 device", "8 devices"), ("data", "8 devices", "tensor", "zero 1", "data")]
KEY = jax.random.key(2)


@pytest.fixture(scope="module")
def place(tiny):
    """`place(name)`: the run there and its programs."""

    def go(name):
        count, mesh = PLACES[name]
        rules = {"exec.rules": {"kind": "zero", "stage": 1}} if name == "zero 1" else {}
        run = tiny(**{"exec.mesh": mesh, "exec.layers": "scan", "model.dropout": 0.1, "optim.lr": 1e-3} | rules)
        return run, program(run, jax.devices()[:count])

    return go


@pytest.fixture(scope="module")
def start(place, weights, tmp_path_factory):
    """A folder with the checkpoint of a state that has trained for a while."""
    run, compiled = place("8 devices")
    state = compiled.init(KEY, hyper(run))
    for step in range(5):
        state, _ = compiled.step(state, batch_at(step, compiled), KEY, hyper(run))
    folder = tmp_path_factory.mktemp("start")
    save(folder, 5, state, {})
    return folder


def batch_at(step, compiled):
    ids = np.random.default_rng(step).integers(0, 32, (8, 9), dtype=np.int32)
    rows = {"tokens": ids[:, :-1], "targets": ids[:, 1:]}
    return jax.device_put(rows, compiled.batch_shardings(rows))


def bits(state):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


@pytest.mark.parametrize("way", [rarely(WAYS[0]), WAYS[1]], ids=lambda way: " to ".join(way))
def test_no_bit_is_lost_on_the_way(place, start, tmp_path, way):
    folder, first = start, bits(restore(start, place(way[0])[1].state)[1])
    for number, name in enumerate(way):
        _, state, _ = restore(folder, place(name)[1].state)
        assert bits(state) == first, name
        placed = [leaf.sharding for leaf in jax.tree.leaves(place(name)[1].state)]
        assert [leaf.sharding for leaf in jax.tree.leaves(state)] == placed
        folder = tmp_path / str(number)
        save(folder, 5, state, {})


@pytest.fixture(scope="module")
def losses(place, start):
    def go(name):
        run, compiled = place(name)
        _, state, _ = restore(start, compiled.state)
        found = []
        for step in range(5, 55):
            state, metrics = compiled.step(state, batch_at(step, compiled), KEY, hyper(run))
            found.append(float(metrics["loss"]))
        return found

    return go


@pytest.fixture(scope="module")
def stayed(losses):
    return losses("8 devices")


@pytest.mark.slow
@pytest.mark.often("tensor")
@pytest.mark.parametrize("name", mostly([name for name in PLACES if name != "8 devices"], "1 device", "tensor"))
def test_the_next_losses_are_the_same(losses, stayed, name):
    assert_close(losses(name), stayed)
