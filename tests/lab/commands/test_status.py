"""A sweep's state is read from its files: every state, who is at work, how fast; a thousand runs in a second."""

import json
import os
import subprocess
import sys
import time

import pytest

from jaxgpt.lab.commands import status
from jaxgpt.lab.commands.status import read_status, show_status
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.claim import take
from jaxgpt.seal import seal
from jaxgpt.spec import ConfigError

DIE = """
import os, pathlib, sys
from jaxgpt.lab.workers.claim import take
take(pathlib.Path(sys.argv[1]), sys.argv[2])
os._exit(0)
"""

SHOW = """
import sys
from jaxgpt.lab.commands.status import show_status
show_status(sys.argv[1])
assert "jax" not in sys.modules
"""


def write(path, held):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held) if isinstance(held, dict) else held)


def make_sweep(folder, arms=("gelu", "relu"), seeds=6, steps=100, tune=0):
    """Writes plan.json; gives the run folders by (arm, seed)."""
    cells = []
    for i in range(seeds + tune):
        for arm in arms:
            run, stage = f"{len(cells):010x}", "report" if i < seeds else "tune"
            cells.append(
                {"arm": arm, "seed": i, "id": run, "path": f"{arm}/s{i:02d}-{run}", "steps": steps, "stage": stage}
            )
    plan = {"name": "activation", "question": "Is [GELU] better?", "command": "jaxgpt ablate a.py", "claim_seconds": 60}
    write(folder / "plan.json", plan | {"cells": cells})
    return {(cell["arm"], cell["seed"]): folder / cell["path"] for cell in cells}


def finish(folder, status="finished", step=100, seconds=10.0):
    write(folder / "result.json", {"step": step, "val/loss": 2.0, "seconds": seconds, "status": status})
    seal(folder)


def go_on(folder, step, speed=None):
    row = {"step": step, "tokens": step * 512, "train/loss": 3.0} | ({"tokens_per_second": speed} if speed else {})
    write(folder / "config.yaml", "steps: 100\n")
    write(folder / "status.json", {"status": "running", "step": 10, "steps": 100, "time": 1.0})
    write(folder / "metrics.jsonl", json.dumps(row) + '\n{"step": 99, "tok')


def fail(folder, error, attempts=1):
    try:
        raise error
    except type(error) as caught:
        failure.record(folder, caught, failure.describe(caught, failure.classify(caught), attempts))


@pytest.fixture
def sweep(tmp_path):
    """One run or more in each state. Run 0 of `gelu` is going on."""
    runs = make_sweep(tmp_path)
    for seed in (1, 2):
        finish(runs["gelu", seed])
    finish(runs["relu", 1], "diverged", step=50, seconds=5.0)
    go_on(runs["gelu", 0], step=40, speed=512 * 8.0)
    go_on(runs["relu", 0], step=20, speed=512 * 8.0)  # killed: its files still say `running`
    fail(runs["gelu", 3], ValueError("first\nof two lines"), attempts=2)
    fail(runs["gelu", 4], MemoryError("second"))
    fail(runs["relu", 3], FloatingPointError("nan"))
    fail(runs["relu", 4], KeyboardInterrupt())
    for old in ("gelu/s00-aaaaaaaaaa", "silu/s00-bbbbbbbbbb"):
        write(tmp_path / old / "config.yaml", "")
    write(tmp_path / "report" / "report.md", "")
    with take(tmp_path / "claims", runs["gelu", 0].name.split("-")[1]):
        yield tmp_path


def test_every_state_is_told_from_files(sweep):
    found = read_status(sweep)
    assert found.counts == {"finished": 2, "diverged": 2, "running": 1, "stopped": 2, "failed": 2, "waiting": 3}
    assert found.arms == {
        "gelu": {"finished": 2, "running": 1, "failed": 2, "waiting": 1},
        "relu": {"diverged": 2, "stopped": 2, "waiting": 2},
    }
    assert found.classes == {"bug": 1, "oom": 1}
    assert [run.failure.line for run in found.failures] == ["MemoryError: second", "ValueError: first"]
    assert found.orphans == 2 and not found.over
    assert [(worker.pid, worker.alive) for worker in found.workers] == [(os.getpid(), True)]


def test_rate_and_time_left(sweep):
    found = read_status(sweep)
    (running,) = found.running
    assert (running.arm, running.seed, running.step, running.rate) == ("gelu", 0, 40, 8.0)
    assert found.pace == 10.0 and found.rate == 8.0
    assert found.eta == (60 + 80 + 100 + 3 * 100) / 8.0  # running, stopped twice, waiting


def test_a_run_that_has_not_measured_itself_goes_at_the_usual_pace(sweep):
    go_on(read_status(sweep).folder / read_status(sweep).running[0].path, step=1)
    assert read_status(sweep).rate == 10.0


def test_nobody_at_work_means_no_time_left(tmp_path):
    runs = make_sweep(tmp_path)
    finish(runs["gelu", 0])
    found = read_status(tmp_path)
    assert found.rate is None and found.eta is None and found.pace == 10.0


def test_a_groups_claim_covers_its_runs(tmp_path, capsys):
    runs = make_sweep(tmp_path)
    ids = [folder.name.split("-")[1] for folder in runs.values()]
    for folder in runs.values():
        go_on(folder, step=30, speed=512 * 2.0)
    with take(tmp_path / "claims", "group0", covers=ids[:4]):
        found = read_status(tmp_path)
        assert found.counts == {"running": 4, "stopped": 8} and found.rate == 8.0
        show_status(tmp_path)
    assert "4 runs (group0)" in capsys.readouterr().out


def test_a_killed_worker_is_silent_and_its_run_stopped(tmp_path, capsys):
    runs = make_sweep(tmp_path)
    go_on(runs["gelu", 0], step=30)
    subprocess.run([sys.executable, "-c", DIE, tmp_path / "claims", runs["gelu", 0].name.split("-")[1]], check=True)
    found = read_status(tmp_path)
    assert found.counts["stopped"] == 1 and not found.workers[0].alive
    show_status(tmp_path)
    said = capsys.readouterr().out
    assert "(silent)" in said and "nobody is at work; to continue: jaxgpt ablate a.py\n" in said
    finish(runs["gelu", 0])  # killed between its result and its release
    assert not read_status(tmp_path).workers


def test_tuning_runs_are_shown_apart(tmp_path):
    make_sweep(tmp_path, seeds=2, tune=1)
    assert read_status(tmp_path).arms == {
        "gelu": {"waiting": 2},
        "relu": {"waiting": 2},
        "gelu (tune)": {"waiting": 1},
        "relu (tune)": {"waiting": 1},
    }


def test_the_screen_says_it_all(sweep, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    show_status(sweep)
    said = capsys.readouterr().out
    for part in (
        "activation: Is [GELU] better?",
        "12 runs: 2 finished · 2 diverged · 1 running · 2 stopped · 2 failed (bug 1, oom 1) · 3 waiting",
        "of 1,200 steps · 8.0 steps/s · about 1:08 left",
        "gelu s00",
        "40/100",
        "(bug, 2 tries): ValueError: first\n",
        "test_status.py:",
        "2 run folders of earlier plans",
    ):
        assert part in said
    assert "of two lines" not in said and "to continue" not in said


def test_many_arms_workers_and_failures_fit_one_screen(tmp_path, capsys):
    runs = make_sweep(tmp_path, arms=[f"arm{i}" for i in range(60)], seeds=1)
    for folder in list(runs.values())[:20]:
        fail(folder, ValueError("x"))
    show_status(tmp_path)
    said = capsys.readouterr().out
    assert said.count("\n") < 50 and "and 36 more arms" in said and "and 15 more failures" in said


def test_watching_ends_when_all_is_over(tmp_path, monkeypatch, capsys):
    runs = make_sweep(tmp_path)
    for folder in list(runs.values())[1:]:
        finish(folder)
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            finish(runs["gelu", 0])

    monkeypatch.setattr(status.time, "sleep", sleep)
    show_status(tmp_path, watch=True)
    assert looks == [2.0, 2.0] and "12 runs: 12 finished" in capsys.readouterr().out


def test_ctrl_c_ends_watching_quietly(tmp_path, monkeypatch):
    make_sweep(tmp_path)

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", interrupt)
    show_status(tmp_path, watch=True)


def test_no_sweep_is_told_in_one_line(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            ConfigError, match=rf"^{folder}: no sweep here: .*jaxgpt lab plan .*jaxgpt ablate"
        ) as caught:
            read_status(folder)
        assert len(caught.value.problems) == 1
    (tmp_path / "plan.json").write_text('{"name": ')
    with pytest.raises(ConfigError, match=r"plan\.json: not JSON: .*; make it again with `jaxgpt lab plan`$"):
        read_status(tmp_path)


def test_a_thousand_finished_runs_are_read_in_a_moment_and_without_jax(tmp_path):
    for folder in make_sweep(tmp_path, seeds=500).values():
        write(folder / "metrics.jsonl", '{"step": 1}\n' * 100)
        finish(folder)
    began = time.process_time()
    found = read_status(tmp_path)
    assert time.process_time() - began < 3  # 0.3 on an idle machine
    assert found.counts == {"finished": 1000} and found.over and found.orphans == 0
    said = subprocess.run([sys.executable, "-c", SHOW, tmp_path], capture_output=True, text=True, check=True).stdout
    assert "1,000 runs: 1,000 finished" in said
