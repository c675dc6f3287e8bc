"""A run's folder belongs to one run on one text: changes are refused by name, a longer run goes on where it may."""

import json
import shutil

import jax
import numpy as np
import pytest
from rarely import rarely

from jaxgpt import run
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.runs.checkpoint.retention import steps
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.text.tokenizers.saved import load_codec
from jaxgpt.train.program import program

pytestmark = pytest.mark.usefixtures("one_device")
WORDS = "the quick brown fox jumps over the lazy dog and runs away from all of it\n"


class Crash(Exception):
    pass


def crash_at(step):
    def watch(row):
        if row["step"] >= step:
            raise Crash("the disk is on fire\nsecond line")

    return watch


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(WORDS * 60)
    return path


@pytest.fixture
def spec(little, text):
    return little(**{"data.corpus": str(text), "steps": 6, "schedule": "constant", "exec.save_every": 2})


def content(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def refused(spec, out, *words):
    before = content(out)
    with pytest.raises(ConfigError) as refusal:
        run(spec, out, quiet=True)
    assert content(out).keys() == before.keys() | {"run.lock"}
    assert {name: held for name, held in content(out).items() if name != "run.lock"} == {
        name: held for name, held in before.items() if name != "run.lock"
    }
    (line,) = refusal.value.problems
    assert all(word in line for word in words), line


def arrays(spec, out):
    step, state, _ = restore(out / "ckpt", program(spec.with_vocabulary(257)).state)
    return step, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((state.params, state.opt_state))]


@pytest.fixture
def stopped(spec, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Crash):
        run(spec, out, quiet=True, watch=crash_at(3))
    return out


def test_a_failed_run_says_so_and_why(spec, stopped):
    events = [json.loads(line) for line in (stopped / "events.jsonl").read_text().splitlines()]
    status = json.loads((stopped / "status.json").read_text())
    assert events[-1]["event"] == status["status"] == "failed"
    assert events[-1]["why"] == status["why"] == "the disk is on fire" and status["steps"] == 6
    assert run(spec, stopped, quiet=True)["status"] == "finished"
    assert "why" not in json.loads((stopped / "status.json").read_text())


def test_changed_text_is_refused_and_may_be_accepted(spec, stopped, text):
    old = json.loads((stopped / "provenance.json").read_text())["corpus_sha256"]
    text.write_text(WORDS.upper() * 60)
    refused(spec, stopped, "data.corpus", old[:16], "exec.accept_data=true")
    with pytest.raises(Crash):
        run(spec.evolve(exec=spec.exec.evolve(accept_data=True)), stopped, quiet=True, watch=crash_at(5))
    text.write_text(WORDS.title() * 60)
    refused(spec, stopped, "data.corpus", "exec.accept_data=true")  # a consent is for one change
    assert run(spec.evolve(exec=spec.exec.evolve(accept_data=True)), stopped, quiet=True)["status"] == "finished"
    told = [json.loads(line) for line in (stopped / "events.jsonl").read_text().splitlines()]
    accepted = [event for event in told if event["event"] == "accepted_data"]
    assert len(accepted) == 2 and accepted[0]["old"]["data.corpus"] == old
    text.write_text(WORDS * 61)
    refused(spec, stopped, "data.corpus")  # nor is a finished run's result that of other text


@pytest.mark.slow
def test_accepted_text_is_read_with_the_runs_own_tokenizer(spec, tmp_path, text):
    learned = spec.evolve(tokenizer={"kind": "bpe", "vocab_size": 60})
    out = tmp_path / "learned"
    with pytest.raises(Crash):
        run(learned, out, quiet=True, watch=crash_at(3))
    before = load_codec(out / "tokenizer").digest
    text.write_text(WORDS[::-1] * 60)
    refused_line = pytest.raises(ConfigError, match="tokenizer: has changed")
    with refused_line:
        run(learned, out, quiet=True)
    run(learned.evolve(exec=learned.exec.evolve(accept_data=True)), out, quiet=True)
    assert load_codec(out / "tokenizer").digest == before


@pytest.mark.parametrize("lost", ["config.yaml", "provenance.json"])
def test_checkpoints_know_their_run(spec, stopped, lost, text):
    (stopped / lost).unlink()
    if lost == "config.yaml":
        other = spec.evolve(optim=spec.optim.evolve(lr=0.5))
        with pytest.raises(ConfigError, match=r"optim\.lr: .* holds a run with 0\.01, this one has 0\.5"):
            run(other, stopped, quiet=True)
        (stopped / lost).unlink()
    text.write_text(WORDS * 61)
    with pytest.raises(ConfigError, match=r"data\.corpus: has changed"):
        run(spec, stopped, quiet=True)
    text.write_text(WORDS * 60)
    assert run(spec, stopped, quiet=True)["status"] == "finished"


@pytest.mark.parametrize(
    "schedule", [rarely("constant"), {"kind": "wsd", "decay": 0.5}, rarely({"kind": "cosine", "decay_steps": 4})]
)
def test_a_longer_run_is_the_run_that_was_so_long_from_the_start(spec, tmp_path, schedule):
    short = spec.evolve(schedule=schedule, exec=spec.exec.evolve(save_every=None, keep=1, keep_best=False))
    long, out = short.evolve(steps=10), tmp_path / "run"
    run(short, out, quiet=True)
    with pytest.raises(Crash):
        run(long, out, quiet=True, watch=crash_at(9))
    assert not (out / "result.json").exists()
    assert run(long, out, quiet=True)["step"] == 10
    run(long, tmp_path / "whole", quiet=True)
    assert arrays(long, out) == arrays(long, tmp_path / "whole")
    refused(short, out, "steps", "10", "6")


@pytest.mark.slow
def test_a_longer_run_is_refused_where_the_schedule_knew_the_end(spec, tmp_path):
    short, out = spec.evolve(schedule="cosine", steps=4), tmp_path / "run"
    run(short, out, quiet=True)
    refused(short.evolve(steps=8), out, "steps", "4 steps", "a schedule over 8", f"start={out}")
    wsd = short.evolve(schedule={"kind": "wsd", "decay": 0.5})
    run(wsd, tmp_path / "wsd", quiet=True)
    assert 2 in steps(tmp_path / "wsd" / "ckpt")
    shutil.rmtree(tmp_path / "wsd" / "ckpt" / "step_00000002")
    refused(wsd.evolve(steps=8), tmp_path / "wsd", "from step 2 on", f"start={tmp_path / 'wsd'}")


def test_weights_that_are_not_finite_are_never_saved(spec, tmp_path):
    """A finite gradient, and an update that is not: every checkpoint that is left holds finite weights."""
    wild = spec.evolve(optim=spec.optim.evolve(lr=1e25, weight_decay=1e20), exec=spec.exec.evolve(save_every=1))
    result = run(wild, tmp_path / "run", quiet=True)
    assert (result["status"], result["step"]) == ("diverged", 1)
    assert steps(tmp_path / "run" / "ckpt") == {}
    slow = wild.evolve(optim=spec.optim.evolve(lr=1e3, weight_decay=1e7), exec=wild.exec.evolve(keep=9), steps=20)
    assert run(slow, tmp_path / "slow", quiet=True)["status"] == "diverged"
    saved = steps(tmp_path / "slow" / "ckpt")
    for step in saved:
        _, state, _ = restore(tmp_path / "slow" / "ckpt", program(slow.with_vocabulary(257)).state, step)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    assert saved
    with pytest.raises(JaxgptError, match="diverged at step 1; more steps do not help"):
        run(wild.evolve(steps=9), tmp_path / "run", quiet=True)
