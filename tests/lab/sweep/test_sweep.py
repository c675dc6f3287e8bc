"""A sweep's folder: its plan read back is the plan that was made, and only what changed runs again."""

import json

import pytest

from jaxgpt.lab.sweep import folder as module
from jaxgpt.lab.sweep.folder import from_file, from_folder
from jaxgpt.lab.sweep.timing import Pace
from jaxgpt.lab.workers.execute import execute_sweep
from jaxgpt.spec import ConfigError, seams

OWN = """
from jaxgpt.lab import Experiment
from jaxgpt.spec.seam import seams


class Spiral(seams()["lab_test_place"]):
    width: float = 0.5

    def turns(self):
        return 3


experiment = Experiment(
    question="q",
    base="base.yaml",
    arms={"learned": {}, "slow": {"optim.lr": 5e-4}, "spiral": {"model.position": Spiral(width=0.25)}},
    baseline="learned",
    seeds=2,
    contrasts={"either": {"slow": 0.5, "spiral": 0.5, "learned": -1}},
)
"""


@pytest.fixture
def opened(tmp_path, monkeypatch, trainer, run_spec):
    """`opened("steps=8", text=..., seeds=3)`: the sweep of an experiment file that declares a mechanism."""
    place = seams()["lab_test_place"]
    monkeypatch.setattr(place, "_members", dict(place._members))  # what this file declares is no other test's
    (tmp_path / "base.yaml").write_text("kind: lab_test\nsteps: 4\n")
    path = tmp_path / "spirals.py"

    def open_(*overrides, text=OWN, seeds=None):
        path.write_text(text)
        return from_file(path, ["lab.fuse=off", *overrides], seeds, tmp_path / "out", "jaxgpt ablate spirals.py")

    return open_


def content(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def cells(sweep):
    return [(cell.id, cell.path, cell.budgets, cell.run.model_dump()) for cell in sweep.plan().cells]


def arms(trainer):
    return [path.parent.name for path in trainer.ran]


def test_the_plan_read_back_has_the_same_cells(opened, tmp_path):
    made = opened("model.d_model=64", "seed=7", seeds=3)
    made.write()
    read = from_folder(made.folder)
    assert cells(read) == cells(made) and len(cells(made)) == 9
    assert {cell.run.seed for cell in read.plan().cells} == {7, 8, 9}
    assert {cell.run.model.d_model for cell in read.plan().cells} == {64}
    assert read.settings.fuse == "off" and (read.experiment, read.seeds, read.command) == (
        made.experiment,
        3,
        "jaxgpt ablate spirals.py",
    )
    listed = json.loads((made.folder / "plan.json").read_text())["cells"]
    assert [(held["id"], held["path"]) for held in listed] == [(c.id, c.path.as_posix()) for c in made.plan().cells]


def test_overrides_of_lab_go_to_the_experiment_and_others_to_its_base(opened):
    made = opened("lab.claim_seconds=5", "steps=6")
    assert made.settings.claim_seconds == 5 and made.experiment.base["steps"] == 6 and "lab" not in made.experiment.base
    with pytest.raises(ConfigError, match=r"^lab\.fues: unknown field; did you mean 'fuse'\?$"):
        opened("lab.fues=on")


def test_planning_again_touches_nothing(opened):
    opened().write()
    before = content(opened().folder)
    opened().write()
    from_folder(opened().folder).write()
    assert content(opened().folder) == before


def test_the_same_sweep_twice_runs_nothing(opened, trainer):
    for _ in range(2):
        opened().write()
        execute_sweep(opened())
    assert len(trainer.ran) == 6


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ('"optim.lr": 5e-4', '"optim.lr": 2e-4', ["slow"]),
        ("return 3", "return 4", ["spiral"]),
        ("width=0.25", "width=0.3", ["spiral"]),
        ("seeds=2", "seeds=3", ["learned", "slow", "spiral"]),
        ('"q"', '"why"', []),
    ],
)
def test_only_what_changed_runs_again(opened, trainer, old, new, changed):
    opened().write()
    execute_sweep(opened())
    done = content(opened().folder / "learned")
    trainer.ran.clear()
    again = opened(text=OWN.replace(old, new))
    again.write()
    execute_sweep(again)
    seeds = 1 if "seeds" in old else 2
    assert arms(trainer) == changed * seeds
    assert done.items() <= content(again.folder / "learned").items()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "no sweep here"),
        ("{", "not JSON"),
        ("[]", "expected a mapping, found list"),
        ("{}", "not the plan of a sweep"),
    ],
)
def test_a_folder_without_a_plan_is_told_in_one_line(tmp_path, text, line):
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ConfigError, match=line) as caught:
        from_folder(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no sweep here"):
        from_folder(tmp_path / "file")


@pytest.fixture
def timed(monkeypatch):
    """Seconds a step by width, and what was measured."""
    asked = []

    def pace(run):
        asked.append(run.model.d_model)
        return Pace(1.0, run.model.d_model / 1000)

    monkeypatch.setattr(module, "solo_pace", pace)
    monkeypatch.setattr(module, "program_id", lambda run: f"{run.model.d_model} wide")
    return asked


WIDE = OWN.replace('{"optim.lr": 5e-4}', '{"model.d_model": 64}').replace("seeds=2", 'seeds=2, budget=("seconds",)')


def test_seconds_are_measured_once_and_kept(opened, timed):
    made = opened("steps=40", text=WIDE)
    assert {arm: made.plan().of(arm)[0].run.steps for arm in made.experiment.arms} == {
        "learned": 40,
        "slow": 20,
        "spiral": 40,
    }
    assert timed == [32, 64, 32] and not made.folder.exists()
    made.write()
    kept = json.loads((made.folder / "pace.json").read_text())
    assert kept["slow"] == {"program": "64 wide", "seconds": 0.064}
    again = [from_folder(made.folder), opened("steps=40", text=WIDE)]
    assert [cells(sweep) for sweep in again] == [cells(made)] * 2
    assert len(timed) == 3


def test_another_program_is_measured_anew_and_another_rate_is_not(opened, timed):
    opened("steps=40", text=WIDE).write()
    timed.clear()
    opened("steps=40", "optim.lr=2e-3", text=WIDE).write()
    assert timed == []
    opened("steps=40", text=WIDE.replace('"model.d_model": 64', '"model.d_model": 128')).write()
    assert timed == [128]


def test_whatever_else_is_wrong_is_told_before_anything_is_measured(opened, timed, run_spec):
    for overrides, text, line in (
        ([], WIDE.replace("optim", "optin").replace("width=0.25", "wdth=0.25"), "wdth"),
        (["stepz=3"], WIDE, "stepz: unknown field"),
        (["batch_size=many"], WIDE, "batch_size"),
    ):
        with pytest.raises(ConfigError, match=line):
            opened(*overrides, text=text).plans()
    with pytest.raises(ConfigError, match=r"^seeds: expected 1 or more, got 0$"):
        opened(text=WIDE, seeds=0).plans()
    assert timed == []


def test_steps_of_epochs_are_counted_once(opened, run_spec, tmp_path):
    """A plan in epochs reads data when it is made; read back, and planned again, it needs them no more."""
    reads = []

    class InEpochs(run_spec, kind="lab_test_epochs"):
        steps: int | None = None
        epochs: float | None = None

        def sized(self):
            reads.append(self.epochs)
            return self.evolve(steps=round(10 * self.epochs), epochs=None)

    text = OWN.replace('"slow": {"optim.lr": 5e-4}', '"slow": {"epochs": 3}')
    made = opened("kind=lab_test_epochs", "steps=null", "epochs=2", text=text)
    assert [(cell.run.steps, cell.run.epochs) for cell in made.plan().cells[:3]] == [(20, None), (30, None), (20, None)]
    made.write()
    count = len(reads)
    assert cells(from_folder(made.folder)) == cells(made) and len(reads) == count == 3
    assert json.loads((made.folder / "plan.json").read_text())["cells"][1]["steps"] == 30
    other = opened("kind=lab_test_epochs", "steps=null", "epochs=4", text=text)
    assert [cell.run.steps for cell in other.plan().cells[:3]] == [40, 30, 40] and len(reads) == count + 2
