"""Two processes train one run: the same numbers as one process, the same files, and the same end for both."""

import json
import shutil
import sys
import time

import jax
import pytest
from close import assert_close
from pair import KILL, STOP, TERM, Pair, train_words

from jaxgpt import run
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.runs.checkpoint.retention import steps as checkpoints
from jaxgpt.runs.files.folder import read_metrics
from jaxgpt.spec import dump_yaml
from jaxgpt.train.program import program

TIMES = {"tokens_per_second", "mfu"}
"""Figures that tell how fast it went."""
STEPS = 4


@pytest.fixture(scope="module")
def spec(little):
    """Two ways to split the rows and the state; dropout, whose draws must not depend on who computes them."""
    fields = {"log_every": 1, "save_every": 2, "keep": 5, "mesh": {"fsdp": 2}}
    return little(**{"model.dropout": 0.1, "steps": STEPS, "eval.every": 2, "exec": fields})


def written(spec, path):
    path.write_text(dump_yaml(spec))
    return path


def alone(spec, out):
    """One process with both devices: this one, which has imported jax already."""
    both = jax.devices()[:2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda: both)
        run(spec, out, quiet=True)


@pytest.fixture(scope="module")
def whole(spec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    alone(spec, folder / "out")
    return folder / "out"


def losses(out):
    return {(row["step"], name): row[name] for row in read_metrics(out) for name in row if name.endswith("/loss")}


def assert_same_run(spec, out, want):
    """Rows and result to 1e-6, and the arrays of the last checkpoint as one process reads them on another mesh."""
    got, expected = losses(out), losses(want)
    assert list(got) == list(expected) and got
    assert_close(got, expected, 1e-6)
    results = [json.loads((folder / "result.json").read_text()) for folder in (out, want)]
    assert {name for name in results[0]} == {name for name in results[1]}
    assert all(result["status"] == "finished" and result["step"] == spec.steps for result in results)
    eight = spec.evolve(exec=spec.exec.evolve(mesh={"data": 4, "fsdp": 2})).with_vocabulary(257)
    states = [restore(folder / "ckpt", program(eight).state) for folder in (out, want)]
    assert states[0][0] == states[1][0] == spec.steps
    assert_close(states[0][1], states[1][1], 1e-6, scale=1.0)  # moments of gradients are small


def test_two_processes_compute_what_one_does(spec, whole, tmp_path):
    config, out = written(spec, tmp_path / "run.yaml"), tmp_path / "out"
    with Pair(train_words(config, out), tmp_path) as pair:
        assert pair.wait() == [0, 0], pair.said(0) + pair.said(1)
        printed = [process.stdout.read().splitlines() for process in pair.processes]
    assert json.loads(printed[0].pop())["status"] == "finished"
    assert all(line.startswith(b"[Gloo]") for line in [*printed[0], *printed[1]])  # one writer; Gloo talks as it likes
    assert_same_run(spec, out, whole)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in whole.iterdir())
    events = [json.loads(line)["event"] for line in (out / "events.jsonl").read_text().splitlines()]
    assert events == ["start", "first_step", "finished"]


@pytest.mark.slow
def test_two_processes_continue_what_one_has_saved(spec, whole, tmp_path):
    config, out = written(spec, tmp_path / "run.yaml"), shutil.copytree(whole, tmp_path / "out")
    (out / "result.json").unlink()
    for step, folder in checkpoints(out / "ckpt").items():
        if step > 2:
            shutil.rmtree(folder)
    with Pair(train_words(config, out), tmp_path) as pair:
        assert pair.wait() == [0, 0], pair.said(0) + pair.said(1)
    assert_same_run(spec, out, whole)


def test_processes_that_were_started_differently_refuse_naming_the_field(spec, tmp_path):
    config, out = written(spec, tmp_path / "run.yaml"), tmp_path / "out"
    with Pair(train_words(config, out), tmp_path, apart=((), ("optim.lr=0.5",))) as pair:
        assert pair.wait() == [2, 2]
        for index in range(2):
            *waiting, line = pair.said(index).splitlines()  # on a busy machine, for the other to start
            assert all(each.startswith("waiting up to ") for each in waiting)
            assert line.startswith("error: optim.lr: process 0 has 0.01, process 1 has 0.5; start all processes alike")
    assert not out.exists()


FEED = """
import sys
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from jaxgpt.parallel.processes.joining import join
from jaxgpt.train.device_batch import put
address, process = sys.argv[2], int(sys.argv[6])
join(address, 2, process)
whole = np.arange(24 * 8, dtype=np.int32).reshape(24, 8)
asked = []
def rows(start, stop):
    asked.append((start, stop))
    tokens, floats = whole[start:stop], -whole[start:stop].astype(np.float32)
    return {"tokens": tokens, "advantages": floats[:, :4], "rewards": floats[:, 0]}
def check(sizes, spec, want):
    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(sizes), ("a", "b"))
    asked.clear()
    by_shape = lambda tree: jax.tree.map(lambda leaf: NamedSharding(mesh, P(*spec[:leaf.ndim])), tree)
    batch = put(rows, (8, 16), by_shape)
    assert asked == want[process], (sizes, spec, asked)
    for name, rows_of in rows(8, 16).items():  # of different ranks, lengths and dtypes
        assert batch[name].shape == rows_of.shape and batch[name].dtype == rows_of.dtype
        for shard in batch[name].addressable_shards:
            np.testing.assert_array_equal(shard.data, rows_of[shard.index])
check((4, 1), P("a"), [[(8, 10), (10, 12)], [(12, 14), (14, 16)]])
check((2, 2), P("a", "b"), [[(8, 12)], [(12, 16)]])       # tokens split within a process
check((2, 2), P("b", "a"), [[(8, 12), (12, 16)]] * 2)     # and between processes
check((2, 2), P(), [[(8, 16)]] * 2)
"""


def test_each_process_loads_the_rows_of_its_own_devices_only(tmp_path):
    with Pair([sys.executable, "-c", FEED], tmp_path, devices=2) as pair:
        assert pair.wait() == [0, 0], pair.said(0) + pair.said(1)


@pytest.fixture(scope="module")
def long(little, tmp_path_factory):
    """A run that lasts long enough to be disturbed, whole in one process."""
    fields = {"log_every": 1, "save_every": 50, "mesh": {"fsdp": 2}}
    spec = little(**{"model.dropout": 0.1, "steps": 600, "eval.every": 200, "exec": fields})
    folder = tmp_path_factory.mktemp("long")
    config = written(spec, folder / "run.yaml")
    alone(spec, folder / "whole")
    return spec, config, folder / "whole"


def rows(out):
    return (out / "metrics.jsonl").read_bytes().count(b"\n") if (out / "metrics.jsonl").exists() else 0


def begun(out):
    """How often the run has got through its first step."""
    path = out / "events.jsonl"
    return path.read_text().count("first_step") if path.exists() else 0


@pytest.mark.slow
def test_signals_deaths_and_stops_end_both_and_lose_nothing(long, tmp_path):
    """Thirty seconds is the bar for the death of one to end the other."""
    spec, config, whole = long
    out = tmp_path / "out"
    for start, (number, victim) in enumerate([(TERM, 1), (KILL, 1), (STOP, 1), (TERM, 0), (KILL, 0), (STOP, 0)], 1):
        with Pair(train_words(config, out), tmp_path) as pair:
            pair.until(lambda start=start: begun(out) == start and rows(out) >= 30 * start)
            pair.signal(victim, number)
            began = time.monotonic()
            if number == TERM:
                assert pair.wait() == [75, 75], pair.said(0) + pair.said(1)
                status = json.loads((out / "status.json").read_text())
                assert status["status"] == "stopped" and max(checkpoints(out / "ckpt")) == status["step"] == rows(out)
                continue
            (status,) = pair.wait([1 - victim], seconds=30)
            took, said = time.monotonic() - began, pair.said(1 - victim)
            assert status not in (0, 75) and took < 30, said
            print(f"{number.name} of process {victim}: the other ended with {status} after {took:.1f} s")
    with Pair(train_words(config, out), tmp_path) as pair:
        assert pair.wait() == [0, 0], pair.said(0) + pair.said(1)
    assert_same_run(spec, out, whole)
