"""Why a run would be done again: the field, what it was and what it is; and looking changes nothing."""

import json

import pytest

from jaxgpt.lab.commands.why import explain
from jaxgpt.lab.sweep.folder import from_file
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.execute import execute_sweep
from jaxgpt.spec import dump_yaml, seams

TEXT = """
from jaxgpt.lab import Experiment
from jaxgpt.spec.seam import seams


class Winding(seams()["lab_test_place"]):
    def turns(self):
        return 3


experiment = Experiment(
    question="q",
    base={"kind": "lab_test", "steps": 4},
    arms={"learned": {}, "winding": {"model.position": "winding"}},
    baseline="learned",
    seeds=2,
)
"""


@pytest.fixture
def swept(tmp_path, monkeypatch, trainer, run_spec):
    """`swept(text)`: the experiment's file with that text, beside a finished sweep of the text above."""
    monkeypatch.setattr("jaxgpt.parallel.split_cpu", lambda: None)
    place = seams()["lab_test_place"]
    monkeypatch.setattr(place, "_members", dict(place._members))

    def before(run, out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(dump_yaml(run))

    trainer.before = before
    path = tmp_path / "q.py"
    path.write_text(TEXT)
    sweep = from_file(path, ["lab.fuse=off"], None, tmp_path / path.stem, "")
    sweep.write()
    execute_sweep(sweep)

    def text(text):
        path.write_text(text)
        return path

    return text


@pytest.fixture
def told(capsys, tmp_path):
    """`told(path, *overrides)`: lines by arm, of seed 0; looking wrote nothing."""

    def lines(path, *overrides):
        capsys.readouterr()
        before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file()}
        explain(path, list(overrides), None, None if path.is_dir() else tmp_path / path.stem)
        assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file()} == before
        out, err = capsys.readouterr()
        lines = [line for line in out.splitlines() if "/s00-" in line]
        return {line.split("/")[0]: line.split("  ", 1)[1] for line in lines}, err.strip()

    return lines


def test_a_finished_run_is_left_alone(swept, told):
    lines, total = told(swept(TEXT))
    assert lines == {"learned": "left alone: finished at step 4", "winding": "left alone: finished at step 4"}
    assert total == "4 left alone; 0 continues; 0 runs"


def test_a_changed_field_is_named(swept, told):
    lines, total = told(swept(TEXT.replace('"winding": {', '"winding": {"optim.lr": 5e-4, ')))
    assert lines["learned"].startswith("left alone") and total == "2 left alone; 0 continues; 2 runs"
    assert lines["winding"].startswith("runs: unlike s00-") and lines["winding"].endswith(": optim.lr 0.001 -> 0.0005")


def test_a_vocabulary_that_is_now_asked_for_is_named(swept, told):
    lines, _ = told(swept(TEXT), "model.vocab_size=300")
    assert lines["learned"].endswith(": model.vocab_size 257 -> 300")


def test_changed_code_is_named(swept, told):
    lines, _ = told(swept(TEXT.replace("return 3", "return 4")))
    assert lines["learned"].startswith("left alone")
    assert lines["winding"].endswith(": the code of the experiment file changed")


def test_a_new_arm_and_a_failed_and_a_stopped_run(swept, told, tmp_path):
    (learned,), (winding,) = ((tmp_path / "q").glob(f"{arm}/s00-*") for arm in ("learned", "winding"))
    error = RuntimeError("out of luck")
    failure.record(learned, error, failure.describe(error, "bug", 1))
    (learned / "result.json").unlink()
    (winding / "result.json").unlink()
    (winding / "status.json").write_text(json.dumps({"status": "stopped"}))
    arms = '"rotary": {"model.position": "rotary"}, "winding": {'
    lines, total = told(swept(TEXT.replace('"winding": {', arms)))
    assert lines == {
        "learned": "runs: failed before (bug): RuntimeError: out of luck",
        "rotary": "runs: no run of this arm and seed yet",
        "winding": "continues: stopped, last measured at step 4 of 4",
    }
    assert total == "2 left alone; 1 continues; 3 runs"


def test_a_planned_folder_explains_itself(swept, told, tmp_path):
    swept(TEXT)
    assert told(tmp_path / "q")[1] == "4 left alone; 0 continues; 0 runs"
