"""Trackers get every row of a run once, hear how it ended, and cannot stop it. W&B's stand-in plays the tracker."""

import json
import sys

import pytest

from jaxgpt import run
from jaxgpt.runs.files.folder import RunDir, read_metrics
from jaxgpt.runs.sinks.trackers import Trackers
from jaxgpt.spec import ConfigError

pytestmark = pytest.mark.usefixtures("one_device")

SINKS = {"exec.sinks": ["wandb"]}


class Interrupt(Exception):
    """Raised in the middle of a run, as a crash would be."""


def crash_at(step):
    def watch(row):
        if row["step"] >= step:
            raise Interrupt

    return watch


def ends(wandb):
    return [held.summary.get("status") for held in wandb.runs]


def test_a_resumed_run_is_one_run_with_every_row_once(little, wandb, tmp_path):
    spec = little(**SINKS, steps=8, **{"exec.log_every": 1, "exec.save_every": 3})
    for step in (2, 5):  # before the first checkpoint, and two rows behind it
        with pytest.raises(Interrupt):
            run(spec, tmp_path / "run", quiet=True, watch=crash_at(step))
    result = run(spec, tmp_path / "run", quiet=True)
    assert result["status"] == "finished"
    assert len({held.asked["id"] for held in wandb.runs}) == 1
    assert [step for held in wandb.runs for step, *_ in held.rows] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert ends(wandb) == ["failed", "failed", "finished"]
    assert wandb.runs[0].asked["config"]["optim"]["lr"] == spec.optim.lr
    # What was sent is what the record holds, but for the speed of the start that sent it.
    record = {row["step"]: row["train/loss"] for row in read_metrics(tmp_path / "run")}
    assert {step: row["train/loss"] for held in wandb.runs for step, row, _ in held.rows} == record


def sent(wandb):
    return [step for held in wandb.runs for step, *_ in held.rows]


def test_rows_that_a_kill_lost_on_the_way_are_sent_from_the_record(little, wandb, tmp_path):
    with RunDir(tmp_path) as log, Trackers(little(**SINKS), tmp_path) as trackers:
        for step in range(1, 6):
            log.metrics({"step": step, "train/loss": 2.5})
            trackers.write({"step": step, "train/loss": 2.5})
    del wandb.runs[0].rows[3:]
    with Trackers(little(**SINKS), tmp_path) as trackers, RunDir(tmp_path, restored=2) as log:
        for step in range(3, 8):
            trackers.write({"step": step, "train/loss": 2.5})
    assert sent(wandb) == [1, 2, 3, 4, 5, 6, 7]


def test_a_tracker_that_joins_late_gets_the_whole_record(little, wandb, tmp_path):
    with RunDir(tmp_path) as log:
        for step in (1, 2):
            log.metrics({"step": step, "train/loss": 2.5})
    with Trackers(little(**SINKS), tmp_path) as trackers:
        trackers.write({"step": 3, "train/loss": 2.5})
    assert sent(wandb) == [1, 2, 3]


def test_offline_nobody_can_be_asked_so_nothing_is_sent_twice(little, wandb, tmp_path):
    spec = little(**{"exec.sinks": [{"kind": "wandb", "mode": "offline"}]}, steps=8)
    with pytest.raises(Interrupt):
        run(spec.evolve(exec=spec.exec.evolve(log_every=1)), tmp_path / "run", quiet=True, watch=crash_at(5))
    run(spec.evolve(exec=spec.exec.evolve(log_every=1)), tmp_path / "run", quiet=True)
    assert sent(wandb) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.often("write")
@pytest.mark.parametrize("where", ["open", "write", "close"])
def test_a_broken_tracker_says_so_once_and_the_run_goes_on(little, wandb, tmp_path, capsys, where):
    def fail(*args, **kwargs):
        raise OSError("the network is away\nfor long")

    init = wandb.init

    def broken(**asked):
        held = init(**asked)
        name = {"write": "log", "close": "finish"}[where]
        setattr(held, name, fail)
        return held

    wandb.init = fail if where == "open" else broken
    spec = little(**SINKS, steps=4, **{"exec.log_every": 1})
    assert run(spec, tmp_path / "run", quiet=True)["status"] == "finished"
    assert len(read_metrics(tmp_path / "run")) == 4
    said = capsys.readouterr().err.splitlines()
    line = f"{tmp_path / 'run'}: exec.sinks.0 (wandb) fails and gets no more rows: OSError: the network is away"
    assert said.count(line) == 1 and sum("wandb" in one for one in said) == 1


def test_a_missing_package_is_told_before_anything_is_computed(little, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"exec.sinks: wandb is not installed; pip install 'jaxgpt\[track\]'"):
        run(little(**SINKS), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "status"), [(None, "failed"), (Interrupt, "failed"), (KeyboardInterrupt, "stopped")], ids=str
)
def test_leaving_closes(little, wandb, tmp_path, error, status):
    def leave():
        with Trackers(little(**SINKS), tmp_path):
            if error:
                raise error

    if error:
        with pytest.raises(error):
            leave()
    else:
        leave()
    assert ends(wandb) == [status]


def test_runs_open_at_once_keep_to_themselves(little, wandb, tmp_path):
    """As the lanes of a fused group are."""
    lanes = [tmp_path / "sweep" / "arm" / f"s0{i}-abc" for i in range(3)]
    opened = []
    for lane in lanes:
        lane.mkdir(parents=True)
        opened.append(Trackers(little(**SINKS), lane).__enter__())
    for i, trackers in enumerate(opened):
        trackers.write({"step": 1, "train/loss": float(i)})
    for trackers in opened:
        trackers.close("finished")
        trackers.close("failed")  # once closed, closed
    assert [held.rows[0][1] for held in wandb.runs] == [{"train/loss": float(i)} for i in range(3)]
    assert [held.asked["group"] for held in wandb.runs] == ["sweep/arm"] * 3
    assert len({held.asked["id"] for held in wandb.runs}) == 3
    assert ends(wandb) == ["finished"] * 3
    assert {len(json.loads((lane / "wandb.json").read_text())) for lane in lanes} == {1}


def test_a_run_without_sinks_reads_nothing(little, tmp_path):
    with RunDir(tmp_path) as log:
        log.metrics({"step": 1})
    (tmp_path / "metrics.jsonl").write_text("broken\n" + '{"step": 2}\n')
    with Trackers(little(), tmp_path) as trackers:
        trackers.write({"step": 1})
