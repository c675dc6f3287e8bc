"""What comes with the package: found by name, from a clone and from a wheel."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from jaxgpt import shipped
from jaxgpt.lab.question.experiment import Experiment
from jaxgpt.lab.sweep.plan import base_tree
from jaxgpt.spec import ConfigError

ROOT = Path(__file__).parents[1]


def test_every_file_has_a_name():
    for kind, ending in (("config", "yaml"), ("experiment", "py")):
        files = set((ROOT / f"{kind}s").rglob(f"*.{ending}"))
        assert set(shipped.names(kind).values()) == files and files
        assert all(shipped.find(name, kind) == file for name, file in shipped.names(kind).items())
        assert all(shipped.headline(file)[0].isalpha() for file in files)


@pytest.mark.parametrize("word", ["gpt2/demo", "gpt2/demo.yaml", "configs/gpt2/demo", "configs/gpt2/demo.yaml"])
def test_a_name_can_be_written_as_the_path_that_it_has_in_a_clone(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped.find(word, "config") == ROOT / "configs/gpt2/demo.yaml"
    experiment = Experiment(question="?", base=word, arms={"a": {}, "b": {"steps": 1}}, baseline="a")
    assert base_tree(experiment, tmp_path, ())["model"]["kind"] == "gpt2"


def test_a_path_that_is_there_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "position").mkdir()
    assert shipped.find("position", "experiment").parent == ROOT / "experiments"
    assert shipped.find("position", "experiment", folders=True) == tmp_path / "position"
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "demo").write_text("")
    assert shipped.find("gpt2/demo", "config") == tmp_path / "gpt2/demo"


@pytest.mark.parametrize(
    ("word", "kind", "says"),
    [
        ("gpt2/dmeo", "config", r"^gpt2/dmeo: no such config file; did you mean 'gpt2/demo'\?$"),
        ("positoin", "experiment", r"^positoin: no such experiment file; did you mean 'position'\?$"),
        ("qqqq", "config", r"^qqqq: no such config file; `jaxgpt list configs` shows"),
        ("../configs/gpt2/demo", "config", "no such config file"),
        (".", "experiment", "is a folder; expected an experiment file"),
    ],
)
def test_what_is_not_there_is_one_line(word, kind, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=says) as error:
        shipped.find(word, kind)
    assert len(str(error.value).splitlines()) == 1


def test_the_wheel_is_told_to_bring_them():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["only-include"] == ["jaxgpt", "configs", "experiments"]
    assert wheel["sources"] == {name: f"jaxgpt/_shipped/{name}" for name in ("configs", "experiments")}
    assert (ROOT / "jaxgpt" / "py.typed").exists()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds the package as a wheel unpacks it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_all_that_it_should(installed):
    (about,) = installed.glob("jaxgpt-*.dist-info")
    assert "jaxgpt = jaxgpt.__main__:main" in (about / "entry_points.txt").read_text()
    assert (about / "licenses" / "LICENSE").is_file() and (installed / "jaxgpt" / "py.typed").is_file()
    assert {path.name for path in installed.iterdir()} == {"jaxgpt", about.name}
    for kind in shipped.KINDS:
        names = {file.relative_to(ROOT) for file in shipped.names(kind).values()}
        within = installed / "jaxgpt" / "_shipped"
        assert {path.relative_to(within) for path in (within / f"{kind}s").rglob("*") if path.is_file()} == names


@pytest.mark.slow
def test_the_verbs_work_from_a_wheel(installed, tmp_path):
    (tmp_path / "own.py").write_text(
        "from jaxgpt.lab import Experiment\n"
        "arms = {'a': {}, 'b': {'model.position': 'rotary'}}\n"
        "experiment = Experiment(question='?', base='configs/gpt2/demo.yaml', arms=arms, baseline='a')\n"
    )

    def call(*words):
        environment = os.environ | {"PYTHONPATH": str(installed)}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "jaxgpt", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "gpt2/demo" in call("list", "configs") and "position" in call("list", "experiments")
    assert "kind: gpt2" in call("show", "gpt2/demo")
    assert "to start: jaxgpt ablate position " in call("lab", "plan", "position", "--out", "sweeps/position")
    assert "to start: jaxgpt ablate own.py " in call("lab", "plan", "own.py", "--out", "sweeps/own")
    small = ["steps=2", "batch_size=8", "model.num_layers=1", "data.val_tokens=64", "model.vocab_size=null"]
    assert '"status": "finished"' in call("train", "gpt2/demo", *small)
