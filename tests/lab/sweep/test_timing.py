"""Timing trains a few steps for real, both ways, and keeps nothing but the figures."""

import json
from pathlib import Path

import pytest

from jaxgpt.lab import Experiment, Lab, plan
from jaxgpt.lab.sweep import timing as measure
from jaxgpt.lab.sweep.grouping import decide
from jaxgpt.lab.sweep.timing import program_id

LICENCE = Path(__file__).parents[3] / "LICENSE"


@pytest.fixture(scope="module")
def run(tiny):
    fixed = {"model.num_layers": 1, "model.vocab_size": None, "data.corpus": str(LICENCE), "data.val_tokens": 64}
    return lambda **overrides: tiny(**fixed | overrides)


@pytest.mark.slow
def test_both_ways_are_timed_on_real_batches(run, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "STEPS", 3)
    arms = {"high": {}, "low": {"optim.lr": 1e-3}}
    asked = Experiment(question="q", base=run().model_dump(mode="json"), arms=arms, baseline="high", seeds=2)
    mode = decide(plan(asked, "q"), tmp_path, Lab())
    held = json.loads((tmp_path / "fuse.json").read_text())
    assert (held["fused"], held["lanes"]) == (mode.fused, mode.lanes) and mode.lanes == (4 if mode.fused else 1)
    solo, fused = held["measured"]["solo"], held["measured"]["fused"]
    assert 0 < solo["step"] < solo["compile"] and 0 < fused["step"] < fused["compile"]
    assert mode.fused == (fused["all"] < solo["all"])
    assert solo["all"] == pytest.approx(solo["compile"] + 4 * 20 * solo["step"])
    assert [path.name for path in tmp_path.iterdir()] == ["fuse.json"]


def test_a_pace_holds_for_all_runs_of_a_program_of_any_length(run):
    same = [run(), run(seed=3), run(steps=7), run(**{"optim.lr": 1.0}), run(**{"exec.log_every": 9})]
    assert len({program_id(one) for one in same}) == 1
    other = [run(batch_size=16), run(**{"model.d_model": 32}), run(**{"exec.remat": "block"})]
    assert len({program_id(one) for one in [run(), *other]}) == 4
