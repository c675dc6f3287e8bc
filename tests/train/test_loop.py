"""What a run leaves is the same however often it was interrupted, and nothing of another run is ever overwritten."""

import json
import math
import os
import re
import resource
import shutil
import signal

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt import run
from jaxgpt.runs import Run
from jaxgpt.runs.batch_rows import Rows
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.runs.checkpoint.retention import best_step
from jaxgpt.runs.files.folder import read_metrics
from jaxgpt.runs.files.lock import RunLock
from jaxgpt.runs.identity import claim
from jaxgpt.seal import ChangedError, read_result
from jaxgpt.spec import ConfigError, JaxgptError, load_yaml
from jaxgpt.text import prepare
from jaxgpt.train.program import hyper, program
from jaxgpt.train.validation import validate

TIMES = {"tokens_per_second", "mfu", "seconds"}
"""Figures that tell how fast it went."""


class Interrupt(Exception):
    """Raised in the middle of a run, as a crash would be."""


def crash_at(step):
    def watch(row):
        if row["step"] >= step:
            raise Interrupt

    return watch


def stop_at(step):
    def watch(row):
        if row["step"] == step:  # once: a second signal ends the process
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


def figures(row):
    return {name: held for name, held in row.items() if name not in TIMES}


def last_state(spec, out):
    """(step, every array of the newest checkpoint by path)."""
    step, state, _ = restore(out / "ckpt", program(spec.with_vocabulary(257)).state)
    return step, {
        jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def assert_same_run(spec, one, two):
    assert [figures(row) for row in read_metrics(one)] == [figures(row) for row in read_metrics(two)]
    (step, state), (other_step, other) = last_state(spec, one), last_state(spec, two)
    assert step == other_step and state.keys() == other.keys()
    for path in state:
        assert state[path].tobytes() == other[path].tobytes(), path
    results = [figures(json.loads((out / "result.json").read_text())) for out in (one, two)]
    assert results[0] == results[1]
    assert best_step(one / "ckpt") == best_step(two / "ckpt")


def content(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def spec(little):
    """Everything that a resume could lose: dropout, averages, accumulation, a growing batch."""
    return little(
        **{
            "model.dropout": 0.1,
            "ema": 0.9,
            "batch_size": 32,
            "batch_ramp": {"start": 16, "tokens": 16 * 8 * 7, "stairs": 1},
            "steps": 12,
            "eval": {"every": 5},
            "exec": {"accumulate": 2, "log_every": 2, "save_every": 4},
        }
    )


@pytest.fixture(scope="module")
def whole(spec, tmp_path_factory):
    """The directory of the run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    run(spec, out, quiet=True)
    return out


def test_a_run_leaves_the_promised_files(spec, whole):
    result = json.loads((whole / "result.json").read_text())
    fixed = {"step", "tokens", "train/loss", "val/loss", "val/bpb", "lr", "tokens_per_second", "mfu"}
    assert result.keys() >= fixed | {"best_val/loss", "seconds", "status"}
    assert result["status"] == "finished" and result["step"] == 12
    assert math.isclose(result["val/bpb"], result["val/loss"] / math.log(2))  # a byte a token, and no document ends
    assert json.loads((whole / "status.json").read_text())["status"] == "finished"
    assert load_yaml(Run, whole / "config.yaml") == spec.with_vocabulary(257)
    facts = json.loads((whole / "provenance.json").read_text())
    prepared = prepare(spec.data, spec.tokenizer, spec.model.context)
    assert facts["corpus_sha256"] == prepared.corpus_hash and facts["val_tokens"] == prepared.val_tokens == 200
    assert [json.loads(line)["event"] for line in (whole / "events.jsonl").read_text().splitlines()] == [
        "start",
        "first_step",
        "finished",
    ]


def test_rows_come_in_order_with_the_tokens_of_the_growing_batch(spec, whole):
    rows, spans = read_metrics(whole), Rows(spec)
    assert [row["step"] for row in rows] == [2, 4, 5, 6, 8, 10, 12]
    assert [row["tokens"] for row in rows] == [spans.span(row["step"] - 1)[1] * 8 for row in rows]
    assert [row["step"] for row in rows if "val/loss" in row] == [5, 10, 12]
    assert spans.span(6) == (96, 112) and spans.span(7) == (112, 144)


def test_a_finished_run_is_returned_at_once_and_left_alone(spec, whole):
    before = content(whole)
    assert run(spec, whole, watch=crash_at(0)) == json.loads(before["result.json"])
    assert content(whole) == before


def test_a_crashed_run_goes_on_as_if_it_had_never_stopped(spec, whole, tmp_path):
    for moment in (1, 5, 10, 12):
        with pytest.raises(Interrupt):
            run(spec, tmp_path, quiet=True, watch=crash_at(moment))
        assert not (tmp_path / "result.json").exists()
    assert run(spec, tmp_path, quiet=True)["status"] == "finished"
    assert_same_run(spec, whole, tmp_path)


def test_a_signal_saves_at_the_next_step_and_the_run_goes_on_the_same(spec, whole, tmp_path):
    for moment in (2, 6):
        result = run(spec, tmp_path, quiet=True, watch=stop_at(moment))
        assert result["status"] == json.loads((tmp_path / "status.json").read_text())["status"] == "stopped"
        saved, _ = last_state(spec, tmp_path)
        assert moment < saved <= moment + 2  # rows are read one step late
    assert run(spec, tmp_path, quiet=True, watch=stop_at(12))["status"] == "finished"  # too late to stop anything
    assert_same_run(spec, whole, tmp_path)


@pytest.mark.parametrize("last", ["result.json", "seal.json"])
def test_a_kill_between_the_last_checkpoint_and_what_is_written_after_it_loses_nothing(spec, whole, tmp_path, last):
    out = shutil.copytree(whole, tmp_path / "run")
    (out / last).unlink()
    assert read_result(out) is None
    assert run(spec, out, quiet=True)["status"] == "finished"
    assert_same_run(spec, whole, out)
    assert read_result(out) == json.loads((out / "result.json").read_text())


@pytest.mark.parametrize("name", ["result.json", "metrics.jsonl", "config.yaml"])
def test_a_finished_run_that_was_changed_is_neither_believed_nor_done_again(spec, whole, tmp_path, name):
    out = shutil.copytree(whole, tmp_path / "run")
    raw = (out / name).read_bytes()
    (out / name).write_bytes(raw.replace(b"1", b"2", 1))
    before = content(out)
    with pytest.raises(ChangedError, match=rf"run/{re.escape(name)}: changed since the run ended \(another"):
        run(spec, out, quiet=True)
    assert content(out) == before


def test_a_damaged_newest_checkpoint_costs_steps_but_changes_nothing(spec, whole, tmp_path, capsys):
    out = shutil.copytree(whole, tmp_path / "run")
    (out / "result.json").unlink()
    victim = max((out / "ckpt" / "step_00000012").rglob("d/*"), key=lambda path: path.stat().st_size)
    raw = bytearray(victim.read_bytes())
    raw[len(raw) // 2] ^= 1
    victim.write_bytes(raw)
    assert run(spec, out, quiet=True)["status"] == "finished"
    assert "damaged checkpoint, not used" in capsys.readouterr().err
    assert_same_run(spec, whole, out)


def test_another_run_is_refused_naming_its_fields_and_nothing_changes(spec, whole):
    before = content(whole)
    other = spec.evolve(seed=3, optim=spec.optim.evolve(lr=0.5))
    with pytest.raises(ConfigError) as caught:
        run(other, whole, quiet=True)
    assert [line.partition(":")[0] for line in caught.value.problems] == ["optim.lr", "seed"]
    assert all("choose another --out" in line for line in caught.value.problems)
    assert content(whole) == before


def test_a_sweeps_folder_is_no_runs(spec, tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds a sweep, .*; choose another --out"):
        claim(spec.with_vocabulary(257), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_how_it_is_computed_may_change_in_the_same_directory(spec, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "run")
    changed = spec.evolve(exec=spec.exec.evolve(log_every=1))
    assert run(changed, out) == json.loads((whole / "result.json").read_text()) == run(spec, out)


def test_a_directory_in_use_is_refused_and_left_alone(spec, whole):
    with RunLock(whole):
        before = content(whole)
        with pytest.raises(JaxgptError, match=f"in use by process {os.getpid()}"):
            run(spec, whole, quiet=True)
        assert content(whole) == before


def test_a_config_that_cannot_be_written_whole_leaves_what_stood_there(spec, whole, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "old").mkdir()
    shutil.copy(whole / "config.yaml", tmp_path / "old")
    (tmp_path / "new").mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        for name in ("old", "new"):
            with pytest.raises(JaxgptError, match=r"config\.yaml: cannot be written"):
                claim(spec.with_vocabulary(257), tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content(tmp_path) == {"old/config.yaml": (whole / "config.yaml").read_bytes()}


def test_the_best_checkpoint_is_the_best(spec, whole):
    scores = {row["step"]: row["val/loss"] for row in read_metrics(whole) if "val/loss" in row}
    best = min(scores, key=scores.get)
    assert best_step(whole / "ckpt") == best
    assert json.loads((whole / "result.json").read_text())["best_val/loss"] == scores[best]
    compiled = program(spec.with_vocabulary(257))
    step, state, _ = restore(whole / "ckpt", compiled.state, best=True)
    held_out = prepare(spec.data, spec.tokenizer, spec.model.context).val_batches(32)
    assert step == best and validate(compiled, spec.objective, state.weights, held_out, hyper(spec)) == {
        "val/loss": scores[best]
    }


def test_validation_is_the_same_number_in_batches_of_any_size(spec, whole):
    compiled = program(spec.with_vocabulary(257))
    _, state, _ = restore(whole / "ckpt", compiled.state)
    prepared = prepare(spec.data, spec.tokenizer, spec.model.context)
    passes = [prepared.val_batches(rows) for rows in (8, 24)]
    losses = [validate(compiled, spec.objective, state.weights, rows, hyper(spec))["val/loss"] for rows in passes]
    assert_close(losses, 2 * [read_metrics(whole)[-1]["val/loss"]], 1e-6)


@pytest.fixture(scope="module")
def long(little):
    """`long(**overrides)`: a run long enough to learn, to stall or to diverge, with one program for all three."""
    eventful = {"steps": 160, "batch_size": 64, "eval": {"every": 40, "patience": 1}, "exec.keep_best": False}
    return lambda **overrides: little(**(eventful | overrides))


def test_training_learns_more_than_letter_frequencies(long, tmp_path):
    spec = long()
    result = run(spec, tmp_path, quiet=True)
    ids = prepare(spec.data, spec.tokenizer, spec.model.context).train[0].ids_N
    shares = np.bincount(ids) / len(ids)
    entropy = -sum(share * math.log(share) for share in shares if share)
    assert result["step"] == 160 and result["val/loss"] < entropy


def test_it_stops_early_once_validation_no_longer_improves(long, tmp_path):
    spec = long(**{"optim.lr": 1e-12})
    first = run(spec, tmp_path, quiet=True)
    assert (first["status"], first["step"]) == ("finished", 80)  # one pass sets the mark, the next does not beat it
    (tmp_path / "result.json").unlink()  # as if killed before it was written
    assert figures(run(spec, tmp_path, quiet=True)) == figures(first)


def test_a_run_that_diverges_says_so_and_keeps_finite_weights(long, tmp_path):
    spec = long(**{"optim.lr": 1e30, "exec.log_every": 1})
    first = run(spec, tmp_path, quiet=True)
    assert first["status"] == "diverged" and first["step"] < 40
    _, state = last_state(spec, tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in state.values())
    assert first == json.loads((tmp_path / "result.json").read_text()) == run(spec, tmp_path, quiet=True)
    assert first["train/loss"] is None
    (tmp_path / "result.json").unlink()
    assert figures(run(spec, tmp_path, quiet=True)) == figures(first)
