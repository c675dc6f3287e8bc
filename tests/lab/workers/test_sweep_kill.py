"""kill -9 of the worker at random moments of a sweep, and another worker: nothing tells it from one never killed."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxgpt.lab.commands.status_files import read_status
from jaxgpt.lab.run_files import read_result
from jaxgpt.lab.sweep.folder import from_file

LICENCE = Path(__file__).parents[3] / "LICENSE"
TIMES = {"tokens_per_second", "mfu", "seconds"}
"""Figures that tell how fast it went."""
KILLS = 10
TEXT = """
from jaxgpt.lab import Experiment

experiment = Experiment(
    question="Is a tenth of the learning rate as good?",
    base={
        "model": {"kind": "gpt2", "num_layers": 1, "d_model": 16, "num_heads": 2, "context": 8, "dropout": 0.1},
        "tokenizer": "byte",
        "data": {"corpus": "CORPUS", "val_tokens": 64},
        "batch_size": 8,
        "steps": 300,
        "optim": {"kind": "adamw", "lr": 1e-2, "eps": 1e-4},
        "ema": 0.9,
        "eval": {"every": 50},
        "exec": {"log_every": 5, "save_every": 20},
    },
    arms={"whole": {}, "tenth": {"optim.lr": 1e-3}},
    baseline="whole",
    seeds=3,
)
"""


def start(verb, folder):
    command = [sys.executable, "-m", "jaxgpt.cli", "lab", verb, str(folder)]
    flags = f"--xla_backend_optimization_level=0 {os.environ.get('JAXGPT_TEST_XLA_FLAGS', '')}"
    environment = os.environ | {"XLA_FLAGS": flags}  # none says how many devices
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(verb, folder):
    process = start(verb, folder)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err


def reached(folder):
    """Steps that all runs have measured so far."""
    return sum(run.step for run in read_status(folder).runs)


def ended(folder):
    """Every file of the runs that are done, and when it was written."""
    done = [path.parent for path in folder.glob("*/s*/result.json") if read_result(path.parent)]
    return {path: path.stat().st_mtime_ns for run in done for path in run.rglob("*") if path.is_file()}


def kill(folder, draw, left):
    """A worker, killed after a share of the work that is left; says where. Finished runs stay as they are."""
    before, at, total = ended(folder), reached(folder), 6 * 300
    goal = at + draw.uniform(0, 1.6 / (left + 1)) * (total - at)
    worker = start("work", folder)
    deadline = time.monotonic() + 300
    while worker.poll() is None and (not read_status(folder).workers or reached(folder) < goal):
        assert time.monotonic() < deadline, f"no step {goal:.0f} after 300 s"
        time.sleep(0.002)
    time.sleep(draw.uniform(0, 0.05))
    worker.send_signal(signal.SIGKILL)
    _, err = worker.communicate()
    moment = f"from {at} of {total} steps to {reached(folder)}, {len(before)} files of finished runs"
    assert worker.returncode == -signal.SIGKILL, f"{moment}: ended by itself with {worker.returncode}: {err}"
    assert before.items() <= ended(folder).items(), moment
    return moment


def outcome(folder):
    """results.csv by column and every result, without times."""
    with (folder / "results.csv").open() as file:
        table = [{name: held for name, held in row.items() if name not in TIMES} for row in csv.DictReader(file)]
    results = {
        str(path.parent.relative_to(folder)): {k: v for k, v in json.loads(path.read_text()).items() if k not in TIMES}
        for path in folder.glob("*/s*/result.json")
    }
    return table, results


def events(folder, name):
    logs = sorted(folder.glob("*/s*/events.jsonl"))
    return [sum(json.loads(line)["event"] == name for line in log.read_text().splitlines()) for log in logs]


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["off", "on"])
def test_kills_change_no_byte_and_no_finished_run(tmp_path, fuse):
    path = tmp_path / "rate.py"
    path.write_text(TEXT.replace("CORPUS", str(LICENCE)))
    folders = []
    for name in ("whole", "killed"):
        sweep = from_file(path, [f"lab.fuse={fuse}"], None, tmp_path / name, "jaxgpt ablate rate.py")
        sweep.write()
        folders.append(sweep.folder)
    whole, killed = folders
    finish("work", whole)
    draw = random.Random(7)
    moments = [kill(killed, draw, KILLS - i) for i in range(KILLS)]
    before = ended(killed)
    finish("work", killed)
    assert before.items() <= ended(killed).items()
    for folder in folders:
        finish("report", folder)
    print("", *moments, f"starts {events(killed, 'start')}, resumes {events(killed, 'resume')}", sep="\n")
    (table, results), (want_table, want_results) = outcome(killed), outcome(whole)
    assert len(want_results) == 6 and {held["mode"] for held in want_results.values()} == {
        {"off": "solo", "on": "fused"}[fuse]
    }
    assert results == want_results and table == want_table, "\n".join(moments)
    status = read_status(killed)
    assert status.counts == {"finished": 6} and not status.workers and status.orphans == 0
