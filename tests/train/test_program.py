"""Programs are shared by runs that differ in seed or in inputs, and by no others."""

import jax
import pytest

from jaxgpt.train.program import hyper, program


@pytest.mark.parametrize(
    "overrides",
    [
        {"seed": 5},
        {"optim.lr": 3e-4},
        {"optim.weight_decay": 0.0},
        {"model.init_std": 0.1},
        {"exec.log_every": 3, "exec.save_every": None},
        {"data.corpus": "other.txt", "data.val_tokens": 100, "eval.every": 7, "eval.patience": 2},
    ],
    ids=str,
)
def test_shared(tiny, overrides):
    assert program(tiny(**overrides)) is program(tiny())


@pytest.mark.parametrize(
    "overrides", [{"optim.b2": 0.9}, {"model.dropout": 0.1}, {"steps": 21}, {"exec.remat": "block"}], ids=str
)
def test_not_shared(tiny, overrides):
    assert program(tiny(**overrides)) is not program(tiny())


def test_one_compilation_serves_every_step_seed_and_learning_rate(tiny, batch):
    """The state that goes in and the one that comes out have the same types and places: nothing compiles twice."""
    compiled = program(tiny(**{"exec.layers": "scan"}))
    rows = jax.device_put(batch, compiled.batch_shardings(batch))
    for seed, lr in ((0, 1e-2), (1, 3e-4)):
        values = hyper(tiny(**{"optim.lr": lr}))
        state = compiled.init(jax.random.key(seed), values)
        for _ in range(2):
            state, _ = compiled.step(state, rows, jax.random.fold_in(jax.random.key(seed), 1), values)
    assert compiled.init._cache_size() == compiled.step._cache_size() == 1
    described = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.sharding), (state, compiled.state))
    assert described[0] == described[1]
