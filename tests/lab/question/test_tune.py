"""Tuning: a rate for each arm, on seeds of its own, before the runs that are reported."""

import math

import pytest

from jaxgpt.lab.question.tune import FIRST_SEED, Tune, choose
from jaxgpt.lab.sweep.folder import from_file, from_folder
from jaxgpt.lab.sweep.plan import tuning_plan
from jaxgpt.lab.workers.execute import execute_sweep
from jaxgpt.lab.workers.work import SweepError
from jaxgpt.lab.workers.worker import join
from jaxgpt.spec import ConfigError

TEXT = """
from jaxgpt.lab import Experiment, Tune

experiment = Experiment(
    question="q",
    base={"kind": "lab_test", "steps": 4},
    arms={"learned": {}, "rotary": {"model.position": "rotary"}},
    baseline="learned",
    seeds=3,
    tune=Tune(lr=(1e-4, 1e-3, 1e-2), seeds=2),
)
"""
BEST = {"learned": 1e-2, "rotary": 1e-3}


@pytest.fixture
def opened(tmp_path, monkeypatch, trainer, run_spec):
    """`opened()`: a sweep whose arms have different best rates, which the trainer knows."""
    trainer.shift = lambda run: abs(math.log10(run.optim.lr / BEST[run.model.position.kind]))
    (tmp_path / "rates.py").write_text(TEXT)
    return lambda: from_file(
        tmp_path / "rates.py", ["lab.fuse=off"], None, tmp_path / "rates", "jaxgpt ablate rates.py"
    )


def test_the_best_mean_wins():
    found = choose("a", {3.0: [1.0, 1.2], 1.0: [2.0, 2.0], 2.0: [0.0, 2.3]}, "lower", 5.0, 7.0)
    assert (found.lr, found.edge, found.runs, found.tokens, found.seconds) == (3.0, True, 6, 5.0, 7.0)
    assert [(rate.lr, rate.mean) for rate in found.rates] == [(1.0, 2.0), (2.0, 1.15), (3.0, 1.1)]
    higher = choose("a", {3.0: [1.0], 1.0: [2.0], 2.0: [2.5]}, "higher", 0, 0)
    assert (higher.lr, higher.edge) == (2.0, False)


@pytest.mark.parametrize(("better", "good"), [("lower", 9.0), ("higher", -9.0)])
def test_a_rate_at_which_any_seed_diverged_loses(better, good):
    found = choose("a", {1.0: [0.0, math.nan], 2.0: [good, good]}, better, 0, 0)
    assert found.lr == 2.0 and math.isinf(found.rates[0].mean)


def test_tuning_seeds_are_never_reported(opened):
    sweep = opened()
    tuned, reported = ({cell.run.seed for cell in plan.cells} for plan in sweep.plans())
    assert tuned == {FIRST_SEED, FIRST_SEED + 1} and reported == {0, 1, 2}
    with pytest.raises(ConfigError, match=f"seeds: {FIRST_SEED + 1} would reach the seeds that tuning uses"):
        type(sweep)(sweep.folder, sweep.experiment, FIRST_SEED + 1, "", sweep.spec).plan()


def test_every_arm_gets_the_same_effort(opened):
    cells = opened().tuning.cells
    assert len(cells) == 2 * 3 * 2 and {cell.path.parts[1] for cell in cells if cell.arm == "rotary"} == {
        "rotary-lr0.0001",
        "rotary-lr0.001",
        "rotary-lr0.01",
    }
    assert {(c.run.optim.lr, c.run.seed) for c in cells if c.arm == "rotary"} == {
        (c.run.optim.lr, c.run.seed) for c in cells if c.arm == "learned"
    }


def test_without_a_grid_nothing_is_tuned(experiment, run_spec):
    assert tuning_plan(experiment, "q", spec=run_spec).cells == ()


def by_worker(sweep):
    sweep.write()
    join(sweep.folder)


def by_ablate(sweep):
    sweep.write()
    execute_sweep(sweep)


@pytest.mark.parametrize("go", [by_worker, by_ablate])
def test_reported_runs_use_the_chosen_rates(opened, trainer, go):
    go(opened())
    sweep = from_folder(opened().folder)
    assert {arm: (t.lr, t.edge, t.runs) for arm, t in sweep.tuned().items()} == {
        "learned": (1e-2, True, 6),
        "rotary": (1e-3, False, 6),
    }
    assert {arm: {cell.run.optim.lr for cell in sweep.plan().of(arm)} for arm in BEST} == {
        a: {lr} for a, lr in BEST.items()
    }
    assert len(trainer.ran) == len(set(trainer.ran)) == 12 + 6
    assert set(trainer.ran[12:]) == {sweep.folder / cell.path for cell in sweep.plan().cells}
    go(opened())
    assert len(trainer.ran) == 18


@pytest.mark.parametrize("go", [by_worker, by_ablate])
def test_a_tuning_run_that_fails_holds_the_report_back(opened, trainer, go, capsys):
    def before(run, out):
        if run.seed == FIRST_SEED and run.optim.lr == 1e-3 and run.model.position.kind == "learned":
            raise RuntimeError("out of luck")

    trainer.before = before
    if go is by_ablate:
        with pytest.raises(SweepError, match=r"some tuning runs failed.*to try them again: jaxgpt ablate rates\.py"):
            go(opened())
    else:
        go(opened())
        assert "some tuning runs failed" in capsys.readouterr().err
    assert len(trainer.ran) == 11 and {out.parent.parent.name for out in trainer.ran} == {"tune"}
    trainer.before = lambda run, out: None
    go(opened())
    assert len(trainer.ran) == 18


def test_an_arm_that_sets_the_rate_and_a_grid_that_is_none_are_refused(experiment):
    with pytest.raises(ConfigError, match=r"arms\.rotary: sets 'optim.lr', which tune decides"):
        experiment.evolve(arms={"learned": {}, "rotary": {"optim.lr": 1.0}}, tune=Tune(lr=(1, 2)))
    with pytest.raises(ValueError, match="at least 2"):
        Tune(lr=(1,))
    with pytest.raises(ValueError, match=r"names a rate twice, in 0\.001, 0\.01, 0\.001"):
        Tune(lr=(1e-3, 1e-2, 1e-3))
