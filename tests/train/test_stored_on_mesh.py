"""A step on weights in NF4 that eight devices split, against one device."""

import jax
import pytest
from close import assert_close

from jaxgpt.parallel import shardings
from jaxgpt.runs.trainable import frozen_digest, split_params
from jaxgpt.train.program import hyper, program

KEY = jax.random.key(0)
MESHES = {1: {}, 8: {"data": 2, "fsdp": 2, "tensor": 2}}


@pytest.fixture(scope="module")
def steps(tiny, batch, weights):
    """Per number of devices: the parameters after a step, its loss, the frozen weights and their digest."""
    fields = {
        "model.d_model": 128,
        "storage": "nf4",
        "trainable": ["[^k]/bias$"],
        "start": "elsewhere",
        "optim": {"kind": "sgd", "lr": 0.1},
    }
    spec, done = tiny(**fields, **{"exec.layers": "scan"}), {}
    for devices, mesh in MESHES.items():
        run = spec.evolve(exec=spec.exec.evolve(mesh=mesh))
        compiled = program(run, jax.devices()[:devices])
        params = weights(run.model)
        params = jax.device_put(params, shardings(params, run.exec.rules, compiled.mesh, "params/"))
        frozen = run.storage.store_all(split_params(params, run.trained)[1])
        frozen = jax.tree.map(lambda leaf, like: jax.device_put(leaf, like.sharding), frozen, compiled.state.frozen)
        state = compiled.init(KEY, hyper(run))._replace(frozen=frozen)
        given = jax.device_put(batch, compiled.batch_shardings(batch))
        digest = frozen_digest(frozen)
        new, metrics = compiled.step(state, given, KEY, hyper(run))
        done[devices] = jax.device_get(new.params), float(metrics["loss"]), new.frozen, digest
    return done


def test_eight_devices_are_one(steps):
    for got, want in zip(steps[8][:2], steps[1][:2], strict=True):
        assert_close(got, want, 1e-4)


def test_what_is_stored_is_the_same_to_the_bit(steps):
    assert steps[8][3] == steps[1][3]


def test_codes_and_scales_are_split(steps):
    for name in ("q", "o"):
        stored = steps[8][2]["blocks"]["layers"]["attention"][name]["weight"]
        parts = [leaf.size // leaf.addressable_shards[0].data.size for leaf in (stored.codes, stored.scales)]
        assert parts == [4, 4], "over fsdp and tensor"
        assert stored.nested.is_fully_replicated, "a number for each 16,384 weights"
