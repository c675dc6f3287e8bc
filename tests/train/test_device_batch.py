"""Arrays of one batch may differ in rank, length and dtype: on a mesh each is split by its own shape, all along."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from jax.sharding import PartitionSpec as P

from jaxgpt.objectives.objective import Objective
from jaxgpt.runs import ObjectiveRun
from jaxgpt.runs.divisibility import check_divides
from jaxgpt.spec import ConfigError
from jaxgpt.text import TrainingData
from jaxgpt.text.batches.training_data import ArrayShape
from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.train.compiled_step import batch_shapes
from jaxgpt.train.device_batch import put
from jaxgpt.train.program import hyper, program
from jaxgpt.train.sharding_table import sharding_table
from jaxgpt.train.validation import validate

S, T, HELD_OUT = 16, 8, 13
KEY = jax.random.key(3)
ROWS = "data", "fsdp"
SPECS = {
    "source": P(ROWS, "sequence"),
    "target": P(ROWS, "sequence"),
    "advantages": P(ROWS, "sequence"),
    "reward": P(ROWS),
}
"""Of a batch over data, fsdp and sequence, as far as they have more than one device."""


class Rollouts(TrainingData):
    """Pairs of token rows, with an advantage for each token of the second and a reward for each pair."""

    val_tokens_per_byte = None
    epoch_rows = 16

    def shapes(self, rows):
        target = ArrayShape((rows, T), "int32")
        floats = {"advantages": target._replace(dtype="float32"), "reward": ArrayShape((rows,), "float32")}
        return {"source": ArrayShape((rows, S), "int32"), "target": target} | floats

    def batch(self, seed, start, stop):
        def row(number):
            draw = np.random.default_rng((seed, number))
            ids = draw.integers(0, 32, S + T, dtype=np.int32)
            return ids[:S], ids[S:], draw.normal(size=T).astype(np.float32), np.float32(draw.uniform(0, 2))

        columns = zip(*map(row, range(start, stop)), strict=True)
        return dict(zip(self.shapes(0), map(np.stack, columns), strict=True))

    def val_batches(self, rows):
        return ValPass(lambda start, stop: self.batch(9, start, stop), HELD_OUT, rows)


DATA = Rollouts()


@pytest.fixture(scope="module")
def runs(tiny):
    """`(alone, spread)`: a run on these data in one part and in two, over data, fsdp and sequence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objective, "_members", dict(Objective._members))
        patch.setattr(ObjectiveRun, "batch_shapes", lambda run: DATA.shapes(run.batch_size))

        class Rewarded(Objective):
            def loss(self, model, params, batch, key):
                token_VD = params["embed"]["token"]
                context_B1D = token_VD[batch["source"]].mean(1, keepdims=True)
                logits_BTV = (token_VD[batch["target"]] + context_B1D) @ token_VD.T
                nll_BTV = -jax.nn.log_softmax(logits_BTV) * jax.nn.one_hot(batch["target"], 32)
                row_B = (nll_BTV.sum(2) * batch["advantages"]).mean(1)
                total = batch["reward"].sum()
                loss = jnp.sum(row_B * batch["reward"]) / total
                return loss, {"loss": loss, "weight": total}

        shape = {"model.num_layers": 1, "model.context": S, "objective": "rewarded", "optim.clip": None}
        mesh = {"exec.mesh": {"data": 2, "fsdp": 2, "sequence": 2}, "exec.accumulate": 2}
        yield tiny(**shape), tiny(**(shape | mesh))


@pytest.fixture(scope="module")
def batch(runs):
    """What the spread run's step is given."""
    return put(lambda *span: DATA.batch(0, *span), (8, 16), program(runs[1]).batch_shardings)


def test_each_array_is_split_by_its_own_shape(batch):
    assert {name: array.sharding.spec for name, array in batch.items()} == SPECS
    assert {name: ArrayShape(array.shape, array.dtype.name) for name, array in batch.items()} == DATA.shapes(8)


def test_a_step_and_a_validation_on_a_mesh_are_those_of_one_device(runs, weights):
    def computed(run, devices):
        compiled, values = program(run, devices), hyper(run)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), compiled.state)
        places = jax.tree.map(lambda leaf: leaf.sharding, compiled.state)
        state = jax.device_put(zeros._replace(params=weights(run.model)), places)
        loss = validate(compiled, run.objective, state.weights, DATA.val_batches(8), values)["val/loss"]
        batch = put(lambda *span: DATA.batch(0, *span), (8, 16), compiled.batch_shardings)
        state, metrics = compiled.step(state, batch, KEY, values)
        return jax.device_get((loss, metrics["loss"], metrics["grad_norm"], state.params))

    alone, spread = runs
    assert_close(computed(spread, jax.devices()), computed(alone, jax.devices()[:1]))


def test_what_is_said_of_a_batch_before_it_is_made(runs, batch):
    run = runs[1]
    axes = {leaf["path"]: leaf["axes"] for leaf in sharding_table(run)["leaves"]}
    assert axes["batch/source"] == axes["batch/advantages"] == "data+fsdp, sequence"
    assert axes["batch/reward"] == "data+fsdp"
    described = jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), batch_shapes(run, program(run)))
    assert described == jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), batch)


def test_a_length_that_does_not_divide_is_named(runs):
    sizes = {"data": 1, "fsdp": 1, "expert": 1, "tensor": 1, "sequence": 16}
    with pytest.raises(ConfigError, match=r"batch/advantages: 8 tokens do not divide over exec.mesh sequence = 16"):
        check_divides(runs[0], sizes)
