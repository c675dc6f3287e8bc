import pytest

from jaxgpt.lab import analyse, execute, plan
from jaxgpt.lab.report.csv import csv_text
from jaxgpt.lab.report.markdown import markdown
from jaxgpt.lab.workers.execute import SweepError, cost_line
from jaxgpt.spec import ConfigError


def results(planned, out):
    folder, found = out, analyse(planned, out)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("result.json")}
    return files | {"results.csv": csv_text(found).encode(), "report.md": markdown(found).encode()}


def kill_at(k):
    calls = iter(range(100))

    def before(run, out):
        if next(calls) == k:
            out.mkdir(parents=True)
            (out / "metrics.jsonl").write_text('{"step": 3, "tokens": 1, "val/loss": 9.0}\n{"step": 4, "tok')
            raise KeyboardInterrupt

    return before


@pytest.mark.parametrize("k", [0, 5])
def test_a_killed_sweep_continues_to_the_same_bytes(planned, trainer, tmp_path, k, capsys):
    execute(planned, tmp_path / "whole", runner=trainer)
    trainer.ran.clear()
    trainer.before = kill_at(k)
    with pytest.raises(KeyboardInterrupt):
        execute(planned, tmp_path / "cut", runner=trainer)
    assert f"{k} of 12 runs done; to continue: jaxgpt ablate position.py" in capsys.readouterr().err
    done = list(trainer.ran)
    stamps = {path: (path / "result.json").stat().st_mtime_ns for path in done}
    execute(planned, tmp_path / "cut", runner=trainer)
    assert len(done) == k and len(trainer.ran) == len(set(trainer.ran)) == 12
    assert stamps == {path: (path / "result.json").stat().st_mtime_ns for path in done}
    assert results(planned, tmp_path / "cut") == results(planned, tmp_path / "whole")


def test_a_run_that_saved_itself_and_stopped_stops_the_sweep(planned, trainer, tmp_path):
    trainer.status = lambda run: "stopped"
    with pytest.raises(KeyboardInterrupt):
        execute(planned, tmp_path, runner=trainer)
    assert len(trainer.ran) == 1
    trainer.status = lambda run: "finished"
    execute(planned, tmp_path, runner=trainer)
    assert len(trainer.ran) == 13


def test_a_finished_sweep_runs_nothing(planned, trainer, tmp_path):
    execute(planned, tmp_path, runner=trainer)
    execute(planned, tmp_path, runner=trainer)
    assert len(trainer.ran) == 12


def test_only_a_changed_arm_runs_again(planned, experiment, run_spec, trainer, tmp_path):
    execute(planned, tmp_path, runner=trainer)
    trainer.ran.clear()
    arms = experiment.arms | {"rotary": {"model.position": {"kind": "rotary", "theta": 500.0}}}
    execute(plan(experiment.evolve(arms=arms), "position", spec=run_spec), tmp_path, runner=trainer)
    assert [path.parent.name for path in trainer.ran] == ["rotary"] * 6


def test_a_bug_in_one_run_is_recorded_and_tried_again(planned, trainer, tmp_path):
    def before(run, out):
        if run.seed == 2 and run.model.position.kind == "rotary":
            raise RuntimeError("out of luck")

    trainer.before = before
    execute(planned, tmp_path, runner=trainer)
    assert len(trainer.ran) == 11
    found = analyse(planned, tmp_path)
    assert [(o.status, o.cell.run.seed, o.error) for o in found.excluded] == [
        ("failed", 2, "RuntimeError: out of luck")
    ]
    assert found.contrasts[0].seeds == (0, 1, 3, 4, 5)
    trainer.before = lambda run, out: None
    execute(planned, tmp_path, runner=trainer)
    assert len(trainer.ran) == 12 and not analyse(planned, tmp_path).excluded


@pytest.mark.parametrize("first", [0, 4])
def test_the_same_failure_everywhere_stops_the_sweep(planned, trainer, tmp_path, first):
    tried = []

    def before(run, out):
        tried.append(out)
        if run.seed >= first:
            raise OSError(f"disk full while writing {out}")

    trainer.before = before
    with pytest.raises(SweepError, match=r"every arm fails in the same way: OSError: disk full .*failure\.json"):
        execute(planned, tmp_path, runner=trainer)
    assert len(tried) == 2 * first + 2


def test_an_arm_that_always_fails_leaves_the_others_running(planned, trainer, tmp_path):
    def before(run, out):
        if run.model.position.kind == "rotary":
            raise RuntimeError

    trainer.before = before
    execute(planned, tmp_path, runner=trainer)
    assert len(trainer.ran) == 6


def test_diverged_runs_are_results(planned, trainer, tmp_path):
    trainer.status = lambda run: "diverged" if run.seed == 1 else "finished"
    execute(planned, tmp_path, runner=trainer)
    execute(planned, tmp_path, runner=trainer)
    assert len(trainer.ran) == 12
    assert [outcome.status for outcome in analyse(planned, tmp_path).excluded] == ["diverged", "diverged"]


def test_an_unknown_metric_is_told_by_the_first_run_and_costs_no_second(experiment, run_spec, trainer, tmp_path):
    wrong = plan(experiment.evolve(metric="val/los"), "position", spec=run_spec)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"metric: 'val/los' is not a figure of .*did you mean 'val/loss'"):
            execute(wrong, tmp_path, runner=trainer)
    assert len(trainer.ran) == 1


def test_the_cost_is_told_before_the_start(planned, trainer, tmp_path):
    assert cost_line(planned, tmp_path) == "position: 2 arms × 6 seeds = 12 runs, 240 steps in all"
    trainer.before = kill_at(4)
    with pytest.raises(KeyboardInterrupt):
        execute(planned, tmp_path, runner=trainer)
    assert cost_line(planned, tmp_path).endswith("4 done, about 0:12 left")
