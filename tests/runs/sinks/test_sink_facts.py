"""What trackers are told follows from the run and from where it is kept."""

import sys
from pathlib import Path

import pytest

from jaxgpt.runs.sinks import Facts, TensorBoard, Wandb
from jaxgpt.runs.sinks.sink import run_id, scalars
from jaxgpt.spec import ConfigError

CONFIG = {"model": {"kind": "gpt2"}, "seed": 3}


def test_a_run_of_a_sweep_is_grouped_by_sweep_and_arm(tmp_path):
    sweep = tmp_path / "position"
    facts = Facts.of(CONFIG, sweep / "rotary" / "s03-1f0c9a2b4d")
    assert (facts.name, facts.group, facts.folder) == ("rotary/s03-1f0c9a2b4d", "position/rotary", sweep)
    assert facts.tags == {"model": "gpt2", "seed": "3", "experiment": "position", "arm": "rotary"}


@pytest.mark.parametrize("name", ["run", "s03", "s03-final", "x-s03-1f0c9a2b4d"])
def test_any_other_run_stands_alone(tmp_path, name):
    facts = Facts.of(CONFIG, tmp_path / "runs" / name)
    assert (facts.name, facts.group, facts.folder) == (name, None, tmp_path / "runs" / name)
    assert facts.tags == {"model": "gpt2", "seed": "3"}


def test_the_working_directory_has_a_name_too(tmp_path, monkeypatch):
    (tmp_path / "first").mkdir()
    monkeypatch.chdir(tmp_path / "first")
    assert Facts.of(CONFIG, Path(".")).name == "first"


def test_only_numbers_are_sent():
    row = {"step": 5, "tokens": 40, "train/loss": 2.5, "mfu": None, "note": "warm"}
    assert scalars(row) == {"tokens": 40.0, "train/loss": 2.5}


def test_an_id_is_made_once_for_each_store(tmp_path):
    path, made = tmp_path / "tracker.json", iter("abc")
    assert run_id(path, "one", lambda: next(made)) == ("a", False)
    assert run_id(path, "two", lambda: next(made)) == ("b", False)
    assert run_id(path, "one", lambda: next(made)) == ("a", True)
    path.write_text("{")  # torn: a new run of the tracker, not the end of ours
    assert run_id(path, "one", lambda: next(made)) == ("c", False)


@pytest.mark.parametrize("sink", [TensorBoard(), Wandb()], ids=lambda sink: sink.kind)
def test_a_missing_package_is_named_with_its_remedy(sink, monkeypatch):
    monkeypatch.setitem(sys.modules, sink.package, None)
    with pytest.raises(ConfigError) as error:
        sink.check()
    assert str(error.value) == f"exec.sinks: {sink.kind} is not installed; pip install 'jaxgpt[track]'"
