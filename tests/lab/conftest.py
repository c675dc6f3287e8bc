"""A run and a trainer that take no time: the lab's tests need no jax."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxgpt.lab import Experiment, Findings, Plan, analyse, execute, plan
from jaxgpt.lab.report import write
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

    def flops_per_token(self, length: int, dense: bool = True) -> float:
        return 6.0 * self.count()


class Optim(Spec):
    lr: float = 1e-3


class FakeRun(Spec):
    model: Model = Model()
    optim: Optim = Optim()
    steps: int = 20
    seed: int = 0
    exec: str = "cpu"
    batch_size: int = 64
    seq_len: int = 64
    batch_ramp: None = None

    def identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"exec"})


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
        return result


@pytest.fixture
def trainer() -> FakeTrainer:
    return FakeTrainer()


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
