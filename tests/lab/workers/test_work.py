"""A worker: what it does with groups that fail, and with what others do meanwhile. Nothing trains."""

import json
import signal
import subprocess

import pytest

from jaxgpt.lab import Experiment, Lab, analyse, plan
from jaxgpt.lab.sweep.grouping import Mode, units
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.claim import CLAIMS, take
from jaxgpt.lab.workers.work import work
from jaxgpt.seal import seal

OOM = type("XlaRuntimeError", (RuntimeError,), {})


@pytest.fixture
def fused(tiny, tmp_path, monkeypatch):
    """A sweep settled on groups of 4: 4 seeds of two arms that share a program, and of a wide one."""
    base = tiny(**{"data.corpus": "nowhere.txt"}).model_dump(mode="json")
    arms = {"high": {}, "low": {"optim.lr": 1e-3}, "wide": {"model.d_model": 32}}
    planned = plan(Experiment(question="q", base=base, arms=arms, baseline="high", seeds=4), "rates")
    (tmp_path / "rates").mkdir()
    held = {"fused": True, "lanes": 4, "why": "given", "measured": {}}
    (tmp_path / "rates" / "fuse.json").write_text(json.dumps(held))
    return planned


class Groups:
    """Stands for `run_fused`: remembers the groups, and ends each run unless `fails` has an error for its group."""

    def __init__(self, fails):
        self.fails, self.ran = fails, []

    def __call__(self, runs, outs, quiet, watch):
        self.ran.append([f"{out.parent.name} {run.seed}" for run, out in zip(runs, outs, strict=True)])
        error = self.fails(runs)
        if error is not None:
            raise error
        results = []
        for i, (run, out) in enumerate(zip(runs, outs, strict=True)):
            if not (out / "result.json").exists():
                watch(i, {"step": run.steps, "train/loss": 1.0})
                result = {"status": "finished", "step": run.steps, "val/loss": 1.0, "seconds": 1.0, "mode": "fused"}
                out.mkdir(parents=True, exist_ok=True)
                (out / "result.json").write_text(json.dumps(result))
                seal(out)
            results.append(json.loads((out / "result.json").read_text()))
        return results


@pytest.fixture
def go(fused, tmp_path, monkeypatch):
    """`go(fails)`: one worker's call; the groups that it ran."""

    def call(fails=lambda runs: None):
        groups = Groups(fails)
        monkeypatch.setattr("jaxgpt.train.fused.loop.run_fused", groups)
        work(fused, tmp_path / "rates", Lab())
        return groups.ran

    return call


def too_many(limit, wide=None):
    def fails(runs):
        if len(runs) > limit and runs[0].model.d_model == (wide or runs[0].model.d_model):
            return OOM("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
        return None

    return fails


def ended(fused, folder):
    return [outcome.status for outcome in analyse(fused, folder / fused.name).outcomes]


def test_groups_run_in_the_plans_order(go, fused, tmp_path):
    assert go() == [
        ["high 0", "low 0", "high 1", "low 1"],
        ["wide 0", "wide 1", "wide 2", "wide 3"],
        ["high 2", "low 2", "high 3", "low 3"],
    ]
    assert go() == [] and ended(fused, tmp_path) == ["finished"] * 12


@pytest.mark.parametrize(("limit", "sizes"), [(2, [4, 2, 2]), (1, [4, 2, 1, 1, 2, 1, 1])])
def test_a_group_too_large_for_the_memory_is_halved_until_it_fits(go, fused, tmp_path, limit, sizes):
    ran = go(too_many(limit, wide=32))
    assert sorted(len(group) for group in ran if group[0].startswith("wide")) == sorted(sizes)
    assert [group for group in ran if not group[0].startswith("wide")] == [
        ["high 0", "low 0", "high 1", "low 1"],
        ["high 2", "low 2", "high 3", "low 3"],
    ]
    assert ended(fused, tmp_path) == ["finished"] * 12
    assert not list((tmp_path / "rates").glob("*/*/failure.json"))


def test_halving_is_remembered_over_a_kill(go, fused, tmp_path):
    def fails(runs):
        return KeyboardInterrupt() if len(runs) < 4 and runs[0].model.d_model == 32 else too_many(2, 32)(runs)

    with pytest.raises(KeyboardInterrupt):
        go(fails)
    assert [group for group in go(too_many(2, 32)) if group[0].startswith("wide")] == [
        ["wide 0", "wide 1"],
        ["wide 2", "wide 3"],
    ]


def test_a_run_that_does_not_fit_alone_is_given_up_in_this_call(go, fused, tmp_path, capsys):
    ran = go(too_many(0, wide=32))
    assert sorted(len(group) for group in ran if group[0].startswith("wide")) == [1, 1, 1, 1, 2, 2, 4]
    assert ended(fused, tmp_path) == ["finished"] * 8 + ["failed"] * 4
    assert "set exec.remat=block or a larger exec.accumulate" in capsys.readouterr().err
    assert [len(group) for group in go()] == [1, 1, 1, 1]  # the next call starts where this one ended
    assert ended(fused, tmp_path) == ["finished"] * 12


def test_a_failed_group_is_tried_again_as_a_group(go, fused, tmp_path):
    """All else is done: what is left must not run alone, for the sweep is fused."""
    bug = go(lambda runs: RuntimeError("out of luck") if runs[0].model.d_model == 32 else None)
    assert len(bug) == 3 and ended(fused, tmp_path) == ["finished"] * 8 + ["failed"] * 4
    assert go() == [["wide 0", "wide 1", "wide 2", "wide 3"]]


def test_what_another_found_too_large_meanwhile_is_not_tried_whole(go, fused, tmp_path, monkeypatch):
    """We listed the group; before we claim it, another worker's attempt has failed for memory."""
    (_, wide, _) = units(fused, Mode(True, 4, ""))

    def late(folder, key, *more):
        if key == wide.key and not (tmp_path / "rates" / wide.cells[0].path / "failure.json").exists():
            for cell in wide.cells:
                error = RuntimeError("x")
                failure.record(tmp_path / "rates" / cell.path, error, failure.describe(error, "oom", 1))
        return take(folder, key, *more)

    monkeypatch.setattr("jaxgpt.lab.workers.work.take", late)
    assert [group for group in go() if group[0].startswith("wide")] == [["wide 0", "wide 1"], ["wide 2", "wide 3"]]


def test_what_another_holds_is_left_to_it_and_waited_for(go, fused, tmp_path, monkeypatch):
    (_, wide, _) = units(fused, Mode(True, 4, ""))
    other = take(tmp_path / "rates" / CLAIMS, wide.key)
    begun, waits = [], []

    def pause(seconds):
        waits.append(len(begun))
        other.release()

    monkeypatch.setattr("jaxgpt.lab.workers.work.time.sleep", pause)
    ran = go(begun.append)
    assert waits == [2] and ran[2:] == [["wide 0", "wide 1", "wide 2", "wide 3"]]


def test_a_diverged_run_does_not_hold_up_its_group(go, fused, tmp_path):
    path = tmp_path / "rates" / fused.of("wide")[1].path
    path.mkdir(parents=True)
    (path / "result.json").write_text(json.dumps({"status": "diverged", "step": 3}))
    seal(path)
    assert len(go()) == 3 and ended(fused, tmp_path).count("diverged") == 1


def test_a_damaged_run_of_a_group_is_recorded_alone(go, fused, tmp_path, monkeypatch, capsys):
    (_, wide, _) = units(fused, Mode(True, 4, ""))
    victim = tmp_path / "rates" / wide.cells[1].path

    def some(self, runs, outs, quiet, watch):
        self.ran.append(outs)
        results = [
            whole(self, [run], [out], quiet, lambda i, row: None)[0]
            for run, out in zip(runs, outs, strict=True)
            if out != victim
        ]
        if victim in outs:
            results.insert(1, {"status": "damaged", "error": f"{victim}/config.yaml:1: not safe YAML"})
        return results

    whole = Groups.__call__
    monkeypatch.setattr(Groups, "__call__", some)
    go()
    assert ended(fused, tmp_path).count("finished") == 11 and ended(fused, tmp_path).count("failed") == 1
    assert failure.read(victim).line == f"JaxgptError: {victim}/config.yaml:1: not safe YAML"
    assert "config.yaml:1: not safe YAML" in capsys.readouterr().err


def test_a_preempted_run_is_tried_again_but_not_forever(planned, trainer, tmp_path):
    tried = []

    def before(run, out):
        if run.seed == 1 and run.model.position.kind == "rotary":
            tried.append(out)
            if len(tried) != 3 + 2:
                raise subprocess.CalledProcessError(-signal.SIGKILL, "git")

    trainer.before = before
    work(planned, tmp_path / "position", Lab(), trainer)
    assert len(tried) == 3 and ended(planned, tmp_path).count("finished") == 11
    work(planned, tmp_path / "position", Lab(), trainer)
    assert len(tried) == 4 and ended(planned, tmp_path).count("failed") == 1
    work(planned, tmp_path / "position", Lab(), trainer)
    assert len(tried) == 5 and ended(planned, tmp_path) == ["finished"] * 12
