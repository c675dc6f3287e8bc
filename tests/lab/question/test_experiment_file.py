"""Experiment files are code; what they declare holds in this process, also when the sweep keeps a copy of the file."""

import subprocess
import sys

import pytest

from jaxgpt.lab import load
from jaxgpt.lab.question.file import import_file
from jaxgpt.spec import ConfigError, seams

TEXT = """
from jaxgpt.lab import Experiment
from jaxgpt.spec.seam import seams


class Helix(seams()["lab_test_place"]):
    pitch: int = 3


experiment = Experiment(question="q", base={}, arms={"a": {}, "b": {"x": 1}}, baseline="a")
"""

LOADS = """
import sys
from jaxgpt.lab import load
load(sys.argv[1])
print({"jax", "scipy", "matplotlib"} & set(sys.modules))
"""


@pytest.fixture(autouse=True)
def _own_members_leave(monkeypatch):
    place = seams()["lab_test_place"]
    monkeypatch.setattr(place, "_members", dict(place._members))


def write(folder, name, text=TEXT):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_the_copy_that_a_sweep_keeps_may_be_loaded_beside_the_file(tmp_path):
    file, copy = write(tmp_path, "q.py"), write(tmp_path / "out", "experiment.py")
    assert load(file).arms == load(copy).arms == load(file).arms
    assert import_file(file).__name__ != import_file(copy).__name__


def test_another_mechanism_of_the_same_name_is_refused_in_one_line(tmp_path):
    load(write(tmp_path, "q.py"))
    other = write(tmp_path, "r.py", TEXT.replace("pitch: int = 3", "pitch: int = 4"))
    with pytest.raises(
        ConfigError, match=r"r\.py:6: TypeError: lab_test_place kind 'helix' is already declared"
    ) as caught:
        load(other)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_python_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"an experiment is a Python file whose name ends in \.py"):
        load(write(tmp_path, "q.txt"))


def test_loading_an_experiment_loads_no_jax(tmp_path):
    path = write(tmp_path, "q.py", TEXT.replace("lab_test_place", "engine"))
    words = [sys.executable, "-c", LOADS, path]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "set()\n"
