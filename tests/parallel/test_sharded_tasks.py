"""A task on a mesh is the task on one device: its step, and what validation gathers of each row."""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.train.figures import figures
from jaxgpt.train.program import hyper, program

CHOICE = {
    "objective": {"kind": "choice", "lm_weight": 0.5},
    "model.text_head": {"kind": "task", "dropout": 0.1},
    "model.dropout": 0.1,
    "model.num_heads": 4,
    "data": {"columns": ["a", "b", "c"], "label": "d"},
    "optim": {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "clip": None},
    "exec.layers": "scan",
}
MESH = {"exec.mesh": {"data": 2, "fsdp": 2, "tensor": 2}, "exec.rules": {"kind": "product", "of": ["megatron", "zero"]}}


def rows(batch):
    """A text with two candidates, of which the third row lacks the second; the last row only fills the batch up."""
    real = np.arange(8) < np.array([8, 3, 5, 2, 7, 8, 4, 0])[:, None]
    there = real & (np.arange(8)[:, None] != 2)
    tokens = batch["tokens"]
    return {
        "tokens": tokens * real,
        "segments": real.astype(np.int32),
        "token_types": np.zeros((8, 8), np.int32),
        "tokens_1": tokens[:, ::-1] * there,
        "segments_1": there.astype(np.int32),
        "token_types_1": np.zeros((8, 8), np.int32),
        "label": np.array([0, 1, 0, 1, 1, 0, 0, 0], np.int32),
    }


@pytest.mark.slow
def test_step_and_figures_are_those_of_one_device(tiny, weights, batch):
    def computed(run, devices):
        compiled, values = program(run, devices), hyper(run)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), compiled.state)
        places = jax.tree.map(lambda leaf: leaf.sharding, compiled.state)
        state = jax.device_put(zeros._replace(params=weights(run.model)), places)
        given = jax.device_put(rows(batch), compiled.batch_shardings(rows(batch)))
        measured = jax.device_get(compiled.evaluate(state.weights, given, values))
        new, metrics = compiled.step(state, given, jax.random.key(3), values)
        return measured, jax.device_get((new.params, metrics["loss"], metrics["aux/lm"]))

    alone, spread = tiny(**CHOICE), tiny(**CHOICE | MESH)
    (measured, stepped), (want, want_step) = computed(spread, jax.devices()), computed(alone, jax.devices()[:1])
    assert_close(stepped, want_step)
    assert_close(measured["rows/outputs"][:7], want["rows/outputs"][:7])
    assert measured["rows/real"].tolist() == [True] * 7 + [False]
    parts = [measured, measured]
    assert figures(alone.objective, parts) == figures(alone.objective, [measured])
