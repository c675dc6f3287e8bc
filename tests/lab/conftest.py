"""A kind of run, and a trainer, that take no time: the lab's tests compile nothing."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from jaxgpt.lab import (
    Experiment,
    Findings,
    Ladder,
    Plan,
    Tune,
    analyse,
    execute,
    factorial,
    interaction,
    ladder_arms,
    main_effects,
    plan,
)
from jaxgpt.lab.analysis.findings import analyse_sweep
from jaxgpt.lab.report import write
from jaxgpt.lab.sweep.folder import Sweep
from jaxgpt.runs import Cost, Run
from jaxgpt.seal import ENDED, seal
from jaxgpt.spec import Seam, Spec


class Place(Seam, seam="lab_test_place"):
    """A seam of the tests' own."""


class Learned(Place):
    pass


class Rotary(Place):
    theta: float = 1e4


class Model(Spec):
    vocab_size: int = 257
    d_model: int = 32
    position: Place = Learned()

    def shapes(self) -> dict[str, Any]:
        tables = {"token": SimpleNamespace(shape=(self.vocab_size, self.d_model))}
        return {"embed": tables, "blocks": SimpleNamespace(shape=(12, self.d_model, self.d_model))}

    def count(self) -> int:
        return (self.vocab_size + 12 * self.d_model) * self.d_model


class Optim(Spec):
    lr: float = 1e-3


class FakeRun(Run, kind="lab_test"):
    model: Model = Model()
    optim: Optim = Optim()
    steps: int = 20
    seed: int = 0
    exec: str = "cpu"
    batch_size: int = 64
    seq_len: int = 64

    trainer: ClassVar[Any] = None

    def train(self, out: Path, quiet: bool = False, watch: Any = None) -> dict[str, Any]:
        return self.trainer(self, out, quiet, watch)

    def signature(self) -> "FakeRun":
        return self.evolve(seed=0)

    def cost(self) -> Cost:
        tokens = self.batch_size * self.seq_len
        return Cost(tokens, 6.0 * tokens * self.model.count(), self.model.count())


class FakeTrainer:
    """Loss falls with the step, by an offset for the seed and one for the arm. Remembers what it ran."""

    def __init__(self, effect: float = -0.03):
        self.effect = effect
        self.ran: list[Path] = []
        self.before: Callable[[FakeRun, Path], None] = lambda run, out: None
        self.status: Callable[[FakeRun], str] = lambda run: "finished"
        self.mode: Callable[[FakeRun], str] = lambda run: "solo"
        self.shift: Callable[[FakeRun], float] = lambda run: 0.0

    def __call__(self, run: FakeRun, out: Path, quiet: bool, watch: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        self.before(run, out)
        self.ran.append(out)
        out.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(run.seed).normal(0, 0.02)
        shift = self.shift(run) + (self.effect if run.model.position.kind == "rotary" else 0.0)
        shift += np.random.default_rng([run.seed, len(run.model.position.kind)]).normal(0, 0.01) + noise
        rows = []
        for step in range(1, run.steps + 1):
            loss = 2.0 + 3.0 * math.exp(-step / (run.steps / 4)) + shift
            rows.append({"step": step, "tokens": step * 4096, "train/loss": loss, "lr": 1e-3, "val/loss": loss + 0.05})
            watch(rows[-1])
        (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (out / "provenance.json").write_text(json.dumps({"commit": "0123abc", "versions": {"jax": "0.10.2"}}))
        result = rows[-1] | {"best_val/loss": rows[-1]["val/loss"], "seconds": 1.5, "status": self.status(run)}
        result["mode"] = self.mode(run)
        (out / "result.json").write_text(json.dumps(result))
        if result["status"] in ENDED:
            seal(out)
        return result


@pytest.fixture(scope="session")
def trainer_class() -> type[FakeTrainer]:
    """For tests that change what it leaves."""
    return FakeTrainer


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    """What a run of the kind `lab_test` trains by."""
    trainer = FakeTrainer()
    monkeypatch.setattr(FakeRun, "trainer", trainer)
    return trainer


@pytest.fixture(scope="session")
def run_spec() -> type[FakeRun]:
    return FakeRun


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    return Experiment(
        question="Do rotary positions beat learned ones?",
        base={"model": {"position": "learned"}},
        arms={"learned": {}, "rotary": {"model.position": "rotary"}},
        baseline="learned",
        seeds=6,
    )


@pytest.fixture(scope="session")
def planned(experiment: Experiment) -> Plan:
    return plan(experiment, "position", command="jaxgpt ablate position.py", spec=FakeRun)


@pytest.fixture(scope="session")
def swept(planned: Plan, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """A sweep that went well, with its report written."""
    out = tmp_path_factory.mktemp("swept")
    execute(planned, out, runner=FakeTrainer())
    found = analyse(planned, out)
    write(found)
    return found


def run_all(experiment: Experiment, folder: Path, trainer: FakeTrainer) -> Findings:
    """Every run of an experiment, those that choose learning rates first."""
    sweep = Sweep(folder, experiment, None, f"jaxgpt ablate {folder.name}.py", FakeRun)
    for stage in ("tune", "report") if experiment.tune else ("report",):
        for cell in (sweep.tuning if stage == "tune" else sweep.plan()).cells:
            trainer(cell.run, folder / cell.path, True, lambda row: None)
    return analyse_sweep(sweep)


@pytest.fixture(scope="session")
def complete() -> Callable[[Experiment, Path, FakeTrainer], Findings]:
    return run_all


@pytest.fixture(scope="session")
def factored(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Two factors with planned contrasts: width has an effect of 0.05, positions one of 0.03, no interaction."""
    factors = {
        "place": {"learned": {"model.position": "learned"}, "rotary": {"model.position": "rotary"}},
        "width": {"thin": {"model.d_model": 32}, "wide": {"model.d_model": 64}},
    }
    asked = Experiment(
        question="Which matters: positions or width?",
        base={},
        arms=factorial(factors),
        baseline="learned+thin",
        contrasts=main_effects(factors) | interaction(factors),
        seeds=8,
    )
    trainer = FakeTrainer()
    trainer.shift = lambda run: scatter(run) - 0.05 * (run.model.d_model == 64)
    return run_all(asked, tmp_path_factory.mktemp("factored") / "factored", trainer)


@pytest.fixture(scope="session")
def ladder_experiment() -> Experiment:
    sizes = {f"d{width}": {"model.d_model": width} for width in (64, 96, 128, 192)}
    arms, rungs = ladder_arms(sizes, {"learned": {}, "rotary": {"model.position": "rotary"}})
    return Experiment(
        question="Does the loss of rotary models fall faster with size?",
        base={},
        arms=arms,
        baseline="learned-d64",
        ladder=Ladder(rungs=rungs),
        seeds=6,
    )


@pytest.fixture
def climber() -> FakeTrainer:
    """Loss 6·N^-0.08 with learned positions and 6·N^-0.10 with rotary ones, N being 12·d_model²."""
    trainer = FakeTrainer(effect=0.0)
    trainer.shift = power_law
    return trainer


@pytest.fixture(scope="session")
def laddered(ladder_experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Two series of four sizes, as `climber` trains them."""
    trainer = FakeTrainer(effect=0.0)
    trainer.shift = power_law
    return run_all(ladder_experiment, tmp_path_factory.mktemp("laddered") / "laddered", trainer)


@pytest.fixture(scope="session")
def budgeted(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Two budgets, tuned learning rates of which the highest is best, a diverged run."""
    asked = Experiment(
        question="Does width pay at equal tokens, and at equal FLOPs?",
        base={},
        arms={"thin": {}, "wide": {"model.d_model": 64}},
        baseline="thin",
        budget=("tokens", "flops"),
        tune=Tune(lr=(1e-3, 2e-3, 4e-3), seeds=2),
        seeds=7,
    )
    trainer = FakeTrainer()
    trainer.shift = lambda run: scatter(run) - 10 * run.optim.lr - 0.05 * (run.model.d_model == 64)
    trainer.status = lambda run: "diverged" if run.seed == 6 and run.model.d_model == 64 else "finished"
    return run_all(asked, tmp_path_factory.mktemp("budgeted") / "budgeted", trainer)


def scatter(run: FakeRun) -> float:
    return float(np.random.default_rng([run.seed, run.model.d_model, 7]).normal(0, 0.005))


def power_law(run: FakeRun) -> float:
    exponent = 0.10 if run.model.position.kind == "rotary" else 0.08
    without = 2.0 + 3.0 * math.exp(-4) + 0.05
    return 6.0 * (12 * run.model.d_model**2) ** -exponent - without + scatter(run)
