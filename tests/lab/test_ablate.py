import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxgpt.lab import ablate
from jaxgpt.spec import ConfigError

TEXT = """
from jaxgpt.lab import Experiment

experiment = Experiment(
    question="q", base="base.yaml", arms={"learned": {}, "rotary": {"model.position": "rotary"}}, baseline="learned"
)
"""


@pytest.fixture
def question(tmp_path, monkeypatch, trainer, run_spec):
    monkeypatch.setitem(sys.modules, "jaxgpt.train", SimpleNamespace(Run=run_spec, run=trainer))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("steps: 8\n")
    path = tmp_path / "question.py"
    path.write_text(TEXT)
    return path


def test_question_in_table_out(question, trainer, capsys):
    written, left = ablate(question, ["steps=4", "lab.fuse=off"], 6, None)
    assert left == 0
    assert written == Path.cwd() / "runs/question/report.html" and written.is_file()
    said = "".join(capsys.readouterr())
    for expected in (
        "2 arms × 6 seeds = 12 runs, 48 steps",
        "difference",
        "95% interval",
        "rotary is better",
        "report: runs/question/report.html",
    ):
        assert expected in said
    assert f"jaxgpt ablate {question.name} steps=4 lab.fuse=off --seeds 6" in (written.parent / "report.md").read_text()
    assert len(trainer.ran) == 12


def test_a_typo_is_told_before_anything_runs(question, trainer, tmp_path):
    question.write_text(TEXT.replace("model.position", "model.positon"))
    with pytest.raises(ConfigError, match=r"^arms\.rotary: model\.positon: unknown field; did you mean 'position'\?$"):
        ablate(question, [], None, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"^stepz: unknown field; did you mean 'steps'\?$"):
        ablate(question, ["stepz=1"], None, tmp_path / "out")
    assert not trainer.ran and not (tmp_path / "out").exists()


def test_ctrl_c_says_the_command_that_continues(question, trainer, capsys):
    def interrupt(run, out):
        if len(trainer.ran) == 3:
            raise KeyboardInterrupt

    trainer.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        ablate(question, ["model.position={kind: rotary, theta: 9}", "lab.fuse=off"], 2, None)
    changes = "'model.position={kind: rotary, theta: 9}' lab.fuse=off"
    command = f"to continue: jaxgpt ablate {question.name} {changes} --seeds 2"
    assert f"stopped with 3 of 4 runs done; {command}" in capsys.readouterr().err
