"""The shipped experiments: each loads, plans every run, and says its command and cost. Nothing trains."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.lab.question.file import load
from jaxgpt.lab.sweep.plan import plan
from jaxgpt.nn.norm import Norm
from jaxgpt.runs.objective_run import ObjectiveRun

FOLDER = Path(__file__).parents[1] / "experiments"
FILES = sorted(FOLDER.glob("*.py"), key=lambda path: path.name)


@pytest.fixture(autouse=True)
def _own_norms_leave(monkeypatch):
    """A norm that an experiment declares is no member of the seam in other tests."""
    monkeypatch.setattr(Norm, "_members", dict(Norm._members))


def planned(path):
    return plan(load(path), path.stem, path.parent)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_plans_and_its_head_says_command_and_cost(path):
    found = planned(path)
    head = ast.get_docstring(ast.parse(path.read_text()))
    assert head.splitlines()[0].endswith("?")
    assert f"jaxgpt ablate experiments/{path.name}" in head and "minutes on 2 cores" in head
    arms, seeds = found.experiment.arms, found.experiment.seeds
    assert seeds >= 6 and len({cell.path for cell in found.cells}) == len(found.cells) == len(arms) * seeds


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_arms_differ_in_nothing_but_what_they_name(path):
    found = planned(path)
    if not all(isinstance(cell.run, ObjectiveRun) for cell in found.cells):
        assert "JAXGPT_DATA=<folder" in path.read_text().split('"""')[1]
        return
    corpora = {cell.run.data.corpus for cell in found.cells}
    assert corpora == {"stdlib"} or "JAXGPT_DATA=<folder" in path.read_text().split('"""')[1], (
        "who has no such data is told"
    )
    assert len({(cell.run.data.val_tokens, cell.run.data.val_bytes) for cell in found.cells}) == 1


def first(name):
    """Each arm's first run, its vocabulary settled."""
    found = planned(FOLDER / f"{name}.py")
    return {arm: found.of(arm)[0].run.with_vocabulary(257) for arm in found.experiment.arms}


@pytest.mark.parametrize("name", ["activation", "residual_init", "label_smoothing"])
def test_arms_that_claim_equal_parameters_have_them(name):
    assert len({run.model.count() for run in first(name).values()}) == 1


def test_batch_norm_sees_no_later_position_and_needs_no_state():
    norm = first("norm")["batch"].model.norm
    module, rng = norm.module("n"), np.random.default_rng(0)
    x_BTD = jnp.asarray(3 + 2 * rng.standard_normal((6, 5, 4)), jnp.float32)
    variables = module.init(jax.random.key(0), x_BTD)
    assert variables.keys() == {"params"}
    y_BTD = module.apply(variables, x_BTD)
    assert_close(y_BTD.mean(0), np.zeros((5, 4)), scale=1.0)
    assert_close(y_BTD.var(0), np.ones((5, 4)), 1e-3)
    for position in range(5):
        moved = jax.grad(lambda x, at=position: jnp.sum(jnp.sin(module.apply(variables, x)[:, at])))(x_BTD)
        touched = np.abs(moved).sum((0, 2)) > 0
        assert touched.tolist() == [at == position for at in range(5)]


def test_batch_norm_is_evaluated_on_whole_batches():
    run = first("norm")["batch"]
    assert run.data.val_tokens % (run.eval.batch_size * run.seq_len) == 0


def test_tokenizers_spend_equal_flops():
    runs = first("tokenizers")
    spent = {}
    for arm, run in runs.items():
        size = getattr(run.tokenizer, "vocab_size", 257)
        model = run.model.evolve(vocab_size=size)
        spent[arm] = model.flops_per_token(run.seq_len) * run.steps * run.batch_size * run.seq_len
    assert spent.pop("bpe_2048_same_text") < 0.5 * spent["bytes"]
    assert all(abs(flops / spent["bytes"] - 1) < 0.005 for flops in spent.values())


def test_the_ladder_grows_with_heads_of_one_width():
    runs = list(first("scaling").values())
    counts = [run.model.count() for run in runs]
    assert counts == sorted(counts) and counts[-1] > 10 * counts[0]
    assert {run.model.head_width for run in runs} == {16}
    assert len({run.steps * run.batch_size * run.seq_len for run in runs}) == 1
