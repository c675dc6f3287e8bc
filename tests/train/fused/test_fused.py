"""Runs that train as one program: each lane as if alone, whatever its neighbours do, and resumable as a solo run is."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt import run
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.spec import ConfigError
from jaxgpt.train.fused.loop import run_fused
from jaxgpt.train.fused.program import fused_program, refusal
from jaxgpt.train.program import hyper

TEXT = "".join(f"line {i} of a text about nothing, with number {i * i % 97}\n" for i in range(400))


@pytest.fixture(scope="module")
def spec(tiny, tmp_path_factory):
    """`spec(seed, **overrides)`: a run of 12 steps with dropout on a small text."""
    text = tmp_path_factory.mktemp("text") / "text.txt"
    text.write_text(TEXT)
    base = {"data.corpus": str(text), "steps": 12, "model.dropout": 0.1, "model.vocab_size": 257, "eval.every": 4}
    base |= {"exec.log_every": 2, "exec.save_every": 4, "exec.layers": "scan"}
    return lambda seed, **overrides: tiny(**base | {"seed": seed} | overrides)


def outs(folder: Path, count: int) -> list[Path]:
    return [folder / f"run{i}" for i in range(count)]


def figures(result):
    return {name: held for name, held in result.items() if name not in ("seconds", "tokens_per_second", "mfu")}


def params(folder: Path, spec):
    like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), fused_program(spec, 1).lane)
    step, state, _ = restore(folder / "ckpt", like)
    return step, state


@pytest.fixture(scope="module")
def group(spec, tmp_path_factory):
    """Three lanes over several devices: two learning rates and two rates of dropout among them."""
    runs = [spec(0), spec(1, **{"optim.lr": 3e-3}), spec(2, **{"model.dropout": 0.3})]
    folders = outs(tmp_path_factory.mktemp("group"), 3)
    return runs, folders, run_fused(runs, folders, quiet=True)


def test_a_lane_is_its_solo_run_to_rounding(group, tmp_path):
    """Data, dropout and schedule are the run's own: only rounding tells the two apart."""
    runs, _, results = group
    for i in (1, 2):
        alone = run(runs[i], tmp_path / str(i), quiet=True)
        assert (alone["mode"], results[i]["mode"]) == ("solo", "fused")
        for name in ("val/loss", "train/loss", "grad_norm"):
            assert results[i][name] == pytest.approx(alone[name], rel=2e-4)


def test_other_neighbours_change_no_bit(group, spec, tmp_path):
    runs, folders, results = group
    others = [runs[0], spec(7, **{"optim.lr": 1e-2}), spec(8)]
    again = run_fused(others, outs(tmp_path, 3), quiet=True)
    assert figures(again[0]) == figures(results[0]) and figures(again[1]) != figures(results[1])
    ours, theirs = params(folders[0], runs[0]), params(tmp_path / "run0", runs[0])
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_nor_do_fewer_neighbours(group, tmp_path):
    """Killed when one run had its result and the others not: those left are computed as if all were there."""
    runs, folders, results = group
    again = outs(tmp_path, 3)
    for old, new in zip(folders, again, strict=True):
        shutil.copytree(old, new)
    for folder in again[:2]:
        (folder / "result.json").unlink()
    for step in (8, 12):
        shutil.rmtree(again[0] / "ckpt" / f"step_{step:08d}")
    assert [figures(a) for a in run_fused(runs, again, quiet=True)] == [figures(b) for b in results]


@pytest.mark.parametrize(
    ("name", "text"),
    [("config.yaml", "steps: [\n"), ("metrics.jsonl", '{"step": 2}\noops\n{"step": 4}\n'), ("result.json", "{}")],
)
def test_a_lane_whose_files_are_damaged_stops_no_other(group, tmp_path, name, text):
    """Of the group, one has ended, one is damaged, and one goes on."""
    runs, folders, results = group
    again = outs(tmp_path, 3)
    for old, new in zip(folders, again, strict=True):
        shutil.copytree(old, new)
    for folder in again[1 if name != "result.json" else 2 :]:
        (folder / "seal.json").unlink()
    (again[1] / name).write_text(text)
    before = {path: path.read_bytes() for path in again[1].rglob("*") if path.is_file() and path.name != "run.lock"}
    ended = run_fused(runs, again, quiet=True)
    assert [figures(ended[i]) for i in (0, 2)] == [figures(results[i]) for i in (0, 2)]
    assert ended[1]["status"] == "damaged" and ended[1]["error"].startswith(f"{again[1] / name}:")
    after = {path: path.read_bytes() for path in again[1].rglob("*") if path.is_file() and path.name != "run.lock"}
    assert after.keys() == before.keys() and all(after[path] == before[path] for path in before if path.name == name)


def test_a_lane_that_is_not_finite_diverges_alone(group, spec, tmp_path):
    runs, _, results = group
    broken = [spec(i, **{"optim.lr": 1e30}) for i in (1, 2)]
    ended = run_fused([runs[0], *broken], outs(tmp_path, 3), quiet=True)
    assert [result["status"] for result in ended] == ["finished", "diverged", "diverged"]
    assert figures(ended[0]) == figures(results[0])
    rows = [json.loads(line) for line in (tmp_path / "run1" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] < 12


def test_a_killed_group_goes_on_bitwise(group, spec, tmp_path):
    """Killed while lane 2 was saving: the group goes on from the step that all of them have."""
    runs, folders, results = group
    folders_2 = outs(tmp_path, 3)

    def kill(i, row):
        if i == 2 and row["step"] == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fused(runs, folders_2, quiet=True, watch=kill)
    assert not any((folder / "result.json").exists() for folder in folders_2)
    again = run_fused(runs, folders_2, quiet=True)
    assert [figures(a) for a in again] == [figures(b) for b in results]
    events = [json.loads(line)["event"] for line in (folders_2[0] / "events.jsonl").read_text().splitlines()]
    assert "resume" in events
    for ours, theirs, one in zip(folders, folders_2, runs, strict=True):
        jax.tree.map(np.testing.assert_array_equal, params(ours, one), params(theirs, one))


def test_ended_runs_are_left_alone(group, tmp_path):
    runs, folders, results = group
    before = [(folder / "metrics.jsonl").stat().st_mtime_ns for folder in folders]
    assert run_fused(runs, folders, quiet=True) == results
    assert [(folder / "metrics.jsonl").stat().st_mtime_ns for folder in folders] == before


def test_time_is_shared_out_and_the_mode_recorded(group):
    _, folders, results = group
    seconds = [result["seconds"] for result in results]
    assert max(seconds) < 1.5 * min(seconds)
    assert {json.loads((folder / "provenance.json").read_text())["fused"] for folder in folders} == {3}


@pytest.mark.parametrize("overrides", [{"exec.mesh.fsdp": 2}, {"batch_ramp": {"start": 2, "tokens": 64}}], ids=str)
def test_what_cannot_be_a_lane_is_refused_before_compiling(spec, tmp_path, overrides):
    with pytest.raises(ConfigError, match=r"lab\.fuse: this run cannot be fused"):
        run_fused([spec(0, **overrides), spec(1, **overrides)], outs(tmp_path, 2), quiet=True)


def test_what_is_asked_of_one_runs_weights_is_refused(spec):
    task = {"kind": "choice", "path": "riddles.jsonl"}
    assert refusal(spec(0)) is None
    assert refusal(spec(0, eval={"tasks": [task]})) == "eval.tasks are asked of one run's weights"


def test_other_programs_do_not_fuse(spec, tmp_path):
    with pytest.raises(ConfigError, match="differ in more than seed and inputs"):
        run_fused([spec(0), spec(1, steps=13)], outs(tmp_path, 2), quiet=True)


def test_a_solo_call_refuses_the_checkpoints_of_a_group(group, spec, tmp_path):
    runs, folders, _ = group
    (folders[2] / "result.json").rename(tmp_path / "result.json")
    try:
        with pytest.raises(ConfigError, match="made with other runs as one program"):
            run(runs[2], folders[2], quiet=True)
    finally:
        (tmp_path / "result.json").rename(folders[2] / "result.json")


def test_init_scale_and_dropout_are_inputs(spec):
    """Lanes may differ in them: both reach the program as numbers."""
    compiled = fused_program(spec(0), 2)
    keys = jax.vmap(jax.random.key)(np.zeros(2, np.uint32))
    values = [hyper(spec(0)), hyper(spec(0, **{"model.init_std": 0.04}))]
    stacked = jax.tree.map(lambda *x: np.stack(x), *values)
    state = jax.device_get(compiled.init(keys, stacked))
    token = state.params["embed"]["token"]
    assert_close(token[1], 2 * token[0], 1e-6)


@pytest.fixture
def one_device(monkeypatch):
    """Lanes of one device are a vmap, as on an accelerator."""
    first = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: first)


@pytest.mark.slow
def test_lanes_of_one_device_are_as_independent(spec, group, tmp_path, one_device):
    """A vmap: other neighbours, one of them not finite, change no bit. Devices of their own: rounding."""
    runs, _, results = group
    first = run_fused(runs, outs(tmp_path / "a", 3), quiet=True)
    others = [runs[0], spec(7, **{"optim.lr": 1e30}), spec(8)]
    again = run_fused(others, outs(tmp_path / "b", 3), quiet=True)
    assert figures(again[0]) == figures(first[0]) and again[1]["status"] == "diverged"
    for ours, theirs in zip(first, results, strict=True):
        assert ours["val/loss"] == pytest.approx(theirs["val/loss"], rel=2e-4)
