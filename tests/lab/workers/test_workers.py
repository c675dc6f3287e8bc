"""Worker processes on one folder: each run once, whoever dies; a signal saves, and the next worker goes on bitwise."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from slow_trainer import Run

from jaxgpt.lab.commands.status import read_status
from jaxgpt.lab.run_files import read_metrics
from jaxgpt.lab.sweep.folder import from_file
from jaxgpt.lab.workers.claim import CLAIMS, take

STUB = Path(__file__).with_name("slow_trainer.py")
LICENCE = Path(__file__).parents[3] / "LICENSE"
TEXT = """
from jaxgpt.lab import Experiment

experiment = Experiment(
    question="q", base={base}, arms={{"high": {{}}, "low": {{"optim.lr": 1e-4}}}}, baseline="high", seeds={seeds}
)
"""
TIMES = {"tokens_per_second", "mfu", "seconds"}
STEPS = 200
ONE_BY_ONE = """
import sys
from jaxgpt.cli import main
for folder in sys.argv[3:]:
    sys.argv[1:] = ["lab", "work", folder]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
"""`lab work` on one folder after another, in a process that has jax imported once."""


def wait_for(there, patience=120):
    deadline = time.monotonic() + patience
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Crew:
    """`jaxgpt lab VERB` in processes of their own, by the command that stands for `jaxgpt`."""

    def __init__(self, *command):
        self.command = [sys.executable, *map(str, command)]

    def start(self, *words):
        environment = os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].partition(" ")[2]}  # ours, but on one device
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*self.command, "lab", *map(str, words)], text=True, env=environment, **pipes)

    def finish(self, *words):
        process = self.start(*words)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err


def events(folder):
    """The names of what happened to each run, in order."""
    logs = sorted(folder.glob("*/s*/events.jsonl"))
    return [[json.loads(line)["event"] for line in log.read_text().splitlines()] for log in logs]


@pytest.fixture
def stub(tmp_path):
    """12 runs of half a second."""
    path = tmp_path / "waits.py"
    path.write_text(TEXT.format(base={"steps": 50}, seeds=6))
    sweep = from_file(path, ["lab.fuse=off", "lab.claim_seconds=5"], None, tmp_path / "waits", "")
    replace(sweep, spec=Run).write()
    return Crew(STUB), sweep.folder


def test_three_workers_do_each_run_once_and_one_that_is_killed_is_taken_over(stub):
    crew, folder = stub
    workers = [crew.start("work", folder) for _ in range(3)]
    wait_for(lambda: read_status(folder).counts["finished"] >= 2)
    held = {worker.pid for worker in read_status(folder).workers}
    victim = next(worker for worker in workers if worker.pid in held)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    for worker in workers:
        assert worker is victim or (worker.wait(120), worker.communicate())[0] == 0
    found = events(folder)
    begun = [names.count("start") + names.count("resume") for names in found]
    assert len(found) == 12 and min(begun) == 1 and sum(begun) <= 13  # killed before it first saved, a run starts anew
    assert [names.count("finished") for names in found] == [1] * 12 == [names[-1] == "finished" for names in found]
    status = read_status(folder)
    assert status.over and status.counts == {"finished": 12} and not status.workers and status.orphans == 0


@pytest.mark.slow
def test_a_worker_that_waits_for_others_ends_by_a_signal_too(stub):
    crew, folder = stub
    cells = json.loads((folder / "plan.json").read_text())["cells"]
    with ExitStack() as held:
        for cell in cells[1:]:
            held.enter_context(take(folder / CLAIMS, cell["id"]))
        worker = crew.start("work", folder)
        wait_for(lambda: read_status(folder).counts["finished"] == 1)
        time.sleep(0.3)
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=120)
    assert (worker.returncode, out) == (75, "") and "Traceback" not in err
    assert events(folder) == [["start", "finished"]]


@pytest.fixture
def real(tmp_path):
    """Two runs of some seconds, planned in two folders: what is done to one is not done to the other."""
    base = {
        "model": {"kind": "gpt2", "num_layers": 1, "d_model": 16, "num_heads": 2, "context": 8, "dropout": 0.1},
        "tokenizer": "byte",
        "data": {"corpus": str(LICENCE), "val_tokens": 64},
        "batch_size": 8,
        "steps": STEPS,
        "optim": {"kind": "adamw", "lr": 1e-2, "eps": 1e-4},
        "exec": {"log_every": 10, "save_every": None},
    }
    path = tmp_path / "rate.py"
    path.write_text(TEXT.format(base=base, seeds=1))
    folders = [from_file(path, ["lab.fuse=off"], None, tmp_path / name, "") for name in ("cut", "whole")]
    for sweep in folders:
        sweep.write()
    return Crew("-c", ONE_BY_ONE), *(sweep.folder for sweep in folders)


def outcomes(folder):
    """Rows and results, without what tells how fast it went."""
    rows = [row for log in sorted(folder.glob("*/s*/metrics.jsonl")) for row in read_metrics(log.parent)]
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*/s*/result.json"))]
    return [{name: held for name, held in row.items() if name not in TIMES} for row in rows + results]


@pytest.mark.slow
def test_a_signal_saves_the_run_and_the_next_worker_goes_on_bitwise(real):
    crew, cut, whole = real
    worker = crew.start("work", cut)
    wait_for(lambda: any(log.stat().st_size for log in cut.glob("high/s*/metrics.jsonl")))
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=120)
    assert (worker.returncode, out) == (75, "") and "Traceback" not in err
    (result,) = (json.loads(path.read_text()) for path in cut.glob("*/s*/result.json"))
    assert result["status"] == "stopped" and 0 < result["step"] < STEPS and list(cut.glob("*/s*/ckpt/step_*"))
    assert crew.finish("work", cut, whole)[0] == 0
    assert events(cut) == [["start", "first_step", "stopped", "resume", "first_step", "finished"], events(whole)[1]]
    assert outcomes(cut) == outcomes(whole) and len(outcomes(whole)) == 2 * STEPS // 10 + 2
