from pathlib import Path

import pytest

from jaxgpt.lab import ablate
from jaxgpt.lab.commands import ablate as command
from jaxgpt.lab.sweep import plan as sweep_plan
from jaxgpt.lab.sweep.plan import resolve
from jaxgpt.spec import ConfigError

TEXT = """
from jaxgpt.lab import Experiment

experiment = Experiment(
    question="q", base="base.yaml", arms={"learned": {}, "rotary": {"model.position": "rotary"}}, baseline="learned"
)
"""


@pytest.fixture
def question(tmp_path, monkeypatch, trainer, run_spec):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("kind: lab_test\nsteps: 8\n")
    path = tmp_path / "question.py"
    path.write_text(TEXT)
    return path


@pytest.fixture
def unreported(monkeypatch):
    """No report is drawn, where nobody looks at it."""
    monkeypatch.setattr(command, "present", lambda findings: Path("report.html"))


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


def test_every_run_is_resolved_once(question, monkeypatch, trainer):
    calls = []
    monkeypatch.setattr(sweep_plan, "resolve", lambda *args: calls.append(args) or resolve(*args))
    ablate(question, ["steps=4", "lab.fuse=off"], 2, None)
    assert len(calls) == 1


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


def content(folder):
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_out_is_the_folder_itself(question, tmp_path):
    written, _ = ablate(question, ["steps=4", "lab.fuse=off"], 2, tmp_path / "here")
    assert written == tmp_path / "here" / "report.html" and (tmp_path / "here" / "plan.json").is_file()
    assert (written.parent / "results.csv").read_text().splitlines()[1].startswith("question,learned,0,")
    assert not (tmp_path / "runs").exists()


def test_another_experiment_of_the_same_name_is_refused_and_nothing_changes(question, tmp_path, trainer, unreported):
    ablate(question, ["steps=4", "lab.fuse=off"], 2, None)
    before, other = content(tmp_path / "runs"), tmp_path / "other" / "question.py"
    other.parent.mkdir()
    other.write_text(TEXT.replace('"q"', '"something else"'))
    with pytest.raises(ConfigError, match=r"runs/question: holds the sweep of another experiment, '.*/question\.py'; "):
        ablate(other, ["steps=4", "lab.fuse=off"], 2, None)
    assert content(tmp_path / "runs") == before and len(trainer.ran) == 4


def test_an_experiment_that_moved_or_was_edited_is_the_same(question, tmp_path, trainer, unreported):
    ablate(question, ["steps=4", "lab.fuse=off"], 2, None)
    question.write_text(TEXT.replace('"q"', '"in other words"'))
    ablate(question, ["steps=4", "lab.fuse=off"], 3, None)
    moved = question.rename(tmp_path / "moved.py")
    ablate(moved, ["steps=4", "lab.fuse=off"], 3, tmp_path / "runs" / "question")
    assert len(trainer.ran) == 6
    (tmp_path / "runs" / "question" / "plan.json").write_text("{")  # torn: the copy of the file tells whose it is
    ablate(moved, ["steps=4", "lab.fuse=off"], 3, tmp_path / "runs" / "question")
    assert len(trainer.ran) == 6


@pytest.mark.parametrize("name", ["config.yaml", "notes.txt", "position/plan.json"])
def test_a_folder_that_holds_something_else_is_refused(question, tmp_path, trainer, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    line = rf"/out: holds '{name.split('/')[0]}' and no sweep; .* as --out {tmp_path}/out/question$"
    with pytest.raises(ConfigError, match=line):
        ablate(question, ["lab.fuse=off"], 2, tmp_path / "out")
    assert content(tmp_path / "out").keys() == {path.relative_to(tmp_path / "out")} | (
        {path.parent.relative_to(tmp_path / "out")} - {Path()}
    )
    with pytest.raises(ConfigError, match="notes: cannot be the folder of a sweep"):
        (tmp_path / "notes").write_text("")
        ablate(question, ["lab.fuse=off"], 2, tmp_path / "notes")


def test_a_hidden_file_is_nobodys_content(question, tmp_path, unreported):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".gitignore").write_text("*")
    assert ablate(question, ["steps=4", "lab.fuse=off"], 2, tmp_path / "out").left == 0
