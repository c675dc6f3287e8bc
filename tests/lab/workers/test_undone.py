"""What is left undone is counted, named and told by the exit status; what was changed is not believed, nor redone."""

import pytest

from jaxgpt.lab import Lab, analyse, execute
from jaxgpt.lab.commands import ablate as command
from jaxgpt.lab.commands.status import read_status
from jaxgpt.lab.report.markdown import markdown
from jaxgpt.lab.sweep.folder import from_file, from_folder
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.tries import Tries
from jaxgpt.lab.workers.work import work
from jaxgpt.runs.files.lock import InUseError
from jaxgpt.spec import ConfigError

TEXT = """
from jaxgpt.lab import Experiment

experiment = Experiment(
    question="q",
    base={"kind": "lab_test", "steps": 4},
    arms={"learned": {}, "rotary": {"model.position": "rotary"}},
    baseline="learned",
)
"""


def fails(arm, seed=1):
    def before(run, out):
        if run.model.position.kind == arm and run.seed == seed:
            raise RuntimeError("out of luck")

    return before


def change(folder, name="result.json"):
    raw = (folder / name).read_text()
    (folder / name).write_text(raw.replace("0", "1", 1))
    assert (folder / name).read_text() != raw


@pytest.mark.parametrize("clock", [0.0, 4e9], ids=["behind", "ahead"])
def test_a_failure_is_of_this_call_or_an_earlier_one_whatever_the_clock(planned, trainer, tmp_path, monkeypatch, clock):
    monkeypatch.setattr(failure.time, "time", lambda: clock)
    tried = []

    def before(run, out):
        if (run.model.position.kind, run.seed) == ("rotary", 1):
            tried.append(out)
            if len(tried) < 3:
                raise RuntimeError("out of luck")

    trainer.before = before
    assert [execute(planned, tmp_path, runner=trainer) for _ in range(3)] == [1, 1, 0]
    assert len(tried) == 3 and not analyse(planned, tmp_path).excluded


def test_a_failure_that_cannot_be_written_is_not_tried_for_ever(planned, trainer, tmp_path):
    cell = planned.of("rotary")[1]
    (tmp_path / cell.path / failure.FILE).mkdir(parents=True)
    tried = []

    def before(run, out):
        if out == tmp_path / cell.path:
            tried.append(out)
            raise RuntimeError("out of luck")

    trainer.before = before
    assert execute(planned, tmp_path, runner=trainer) == 1 and len(tried) == 1
    trainer.before = lambda run, out: None
    assert execute(planned, tmp_path, runner=trainer) == 0


def test_the_newest_failure_of_another_worker_is_seen(planned, tmp_path):
    cell = planned.cells[0]
    tries = Tries(planned, tmp_path)
    assert tries.failed_since(cell) is None
    other = Tries(planned, tmp_path).record(cell, RuntimeError("x"), "bug")
    assert tries.failed_since(cell) == other and Tries(planned, tmp_path).failed_since(cell) is None


def test_a_run_that_another_trains_without_a_claim_is_waited_for(planned, trainer, tmp_path, monkeypatch):
    """Its claim was removed, and it has not noticed yet: no failure, and no second try of a finished run."""
    busy = []

    def before(run, out):
        if run.seed == 0 and len(busy) < 3:
            busy.append(out)
            raise InUseError(f"{out}: in use by process 1")

    trainer.before = before
    monkeypatch.setattr("jaxgpt.lab.workers.work.time.sleep", lambda seconds: None)
    assert work(planned, tmp_path, Lab(), trainer) == 0
    assert len(busy) == 3 and len(trainer.ran) == 12


def test_but_not_for_ever(planned, trainer, tmp_path, monkeypatch):
    def before(run, out):
        if (run.seed, run.model.position.kind) == (0, "learned"):
            raise InUseError(f"{out}: in use by process 1")

    trainer.before = before
    monkeypatch.setattr("jaxgpt.lab.workers.work.time.sleep", lambda seconds: None)
    assert work(planned, tmp_path, Lab(claim_seconds=0.01), trainer) == 1
    assert {outcome.error for outcome in analyse(planned, tmp_path).excluded} >= {
        f"InUseError: {tmp_path / planned.cells[0].path}: in use by process 1"
    }


def test_a_run_whose_config_does_not_fit_leaves_the_others_running(planned, trainer, tmp_path):
    def before(run, out):
        if out == tmp_path / planned.cells[0].path:
            raise ConfigError(f"{out}/config.yaml:1: not safe YAML: a tab")

    trainer.before = before
    assert execute(planned, tmp_path, runner=trainer) == 1 and len(trainer.ran) == 11


@pytest.mark.parametrize("name", ["result.json", "metrics.jsonl"])
def test_a_changed_digit_is_named_and_left_out(planned, trainer, tmp_path, capsys, name):
    execute(planned, tmp_path, runner=trainer)
    cell = planned.of("rotary")[2]
    before = analyse(planned, tmp_path).contrasts[0]
    change(tmp_path / cell.path, name)
    capsys.readouterr()
    assert execute(planned, tmp_path, runner=trainer) == 1
    line = f"{tmp_path / cell.path / name}: changed since the run ended (another SHA-256); put back a copy"
    assert line in capsys.readouterr().err and len(trainer.ran) == 12
    found = analyse(planned, tmp_path)
    assert [(o.status, o.cell.id) for o in found.excluded] == [("damaged", cell.id)]
    assert found.contrasts[0].seeds == (0, 1, 3, 4, 5) != before.seeds
    text = markdown(found)
    assert "of 12 runs 1 damaged" in text.split("\n")[2] and text.count("changed since the run ended") == 2


@pytest.fixture
def sweep(tmp_path, monkeypatch, trainer, run_spec):
    (tmp_path / "q.py").write_text(TEXT)
    from_file(tmp_path / "q.py", ["lab.fuse=off"], 2, tmp_path / "q", "jaxgpt ablate q.py").write()
    return tmp_path / "q"


def test_a_worker_exits_with_4_when_a_run_is_left(sweep, trainer, jaxgpt_):
    trainer.before = fails("rotary")
    assert jaxgpt_("lab", "work", sweep)[0] == 4
    trainer.before = lambda run, out: None
    assert jaxgpt_("lab", "work", sweep)[0] == 0 == jaxgpt_("lab", "work", sweep)[0]


def test_so_does_a_sweep(sweep, trainer, jaxgpt_, monkeypatch):
    words = "ablate", sweep.with_suffix(".py"), "lab.fuse=off", "--out", sweep, "--seeds", 2
    trainer.before = fails("rotary")
    status, out, err = jaxgpt_(*words)
    assert status == 4 and "1 of 4 runs are left undone" in "\n".join(err) and "report: " in out
    monkeypatch.setattr(command, "present", lambda findings: sweep / "report.html")  # once is enough to draw it

    def never(run, out):
        raise RuntimeError("never")

    trainer.before = never
    (folder,) = sweep.glob("learned/s00-*")
    for name in ("result.json", "seal.json"):
        for path in sweep.glob(f"*/*/{name}"):
            path.unlink()
    status, out, err = jaxgpt_(*words)
    assert status == 4 and err[-1].startswith("error: every arm fails in the same way: RuntimeError: never")
    trainer.before = lambda run, out: None
    assert jaxgpt_(*words)[0] == 0
    change(folder)
    status, out, err = jaxgpt_(*words)
    assert (
        status == 4
        and f"{folder}/result.json: changed" in "".join(err)
        and "1 of 4 runs are left undone" in "".join(err)
    )


def test_every_verb_names_a_changed_file_and_strict_refuses(sweep, trainer, jaxgpt_):
    assert jaxgpt_("lab", "work", sweep)[0] == 0
    (folder,) = sweep.glob("rotary/s01-*")
    change(folder)
    line = f"{folder}/result.json: changed since the run ended"
    status, out, _ = jaxgpt_("lab", "status", sweep)
    assert status == 0 and line in out and "4 runs: 3 finished · 1 damaged" in out and "to continue" not in out
    assert [run.state for run in read_status(sweep).runs].count("damaged") == 1 and read_status(sweep).over
    status, out, _ = jaxgpt_("lab", "why", sweep)
    assert status == 0 and f"left alone: {line}" in out
    status, _, err = jaxgpt_("lab", "report", sweep)
    assert status == 0 and line in "".join(err)
    status, out, err = jaxgpt_("lab", "report", sweep, "--strict")
    assert status == 2 and err[0].startswith(f"error: {line}") and out == ""


class Crew:
    """Workers that end at once, having done `what`."""

    here = False

    def __init__(self, what):
        self.what = what

    def start(self, folder):
        self.what(folder)
        return self

    def alive(self):
        return 0

    def describe(self):
        return []

    def stop(self):
        pass


@pytest.mark.parametrize("clock", [0.0, 4e9], ids=["behind", "ahead"])
def test_an_engines_sweep_counts_what_its_workers_left(sweep, trainer, monkeypatch, clock):
    from jaxgpt.lab.workers.execute import SweepError, execute_sweep
    from jaxgpt.lab.workers.worker import join

    monkeypatch.setattr(failure.time, "time", lambda: clock)
    trainer.before = fails("rotary")
    opened = from_folder(sweep)

    def with_workers(what):
        lab = opened.experiment.lab.model_copy(update={"engine": Crew(what)})
        return execute_sweep(type(opened)(sweep, opened.experiment.model_copy(update={"lab": lab}), 2, ""))

    monkeypatch.setattr(type(opened), "write", lambda self: None)
    assert with_workers(join) == 1
    assert with_workers(join) == 1
    with pytest.raises(
        SweepError, match="1 of 4 runs are left and no worker is"
    ) as caught:  # the failure is an old one
        with_workers(lambda folder: None)
    assert caught.value.exit_status == 4
    trainer.before = lambda run, out: None
    assert with_workers(join) == 0
