import os
from pathlib import Path

import pytest

from jaxgpt.disk import resolve
from jaxgpt.spec import JaxgptError


def test_a_path_means_the_same_however_it_is_written(tmp_path, monkeypatch):
    home, run = tmp_path / "home", tmp_path / "a b" / "ü[1]"
    home.mkdir()
    run.mkdir(parents=True)
    (tmp_path / "link").symlink_to(run)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    ways = [run, "../a b/ü[1]", "~/../a b/ü[1]", "../link", run / ".." / "." / run.name, os.path.relpath(run)]
    assert {resolve(way) for way in ways} == {run.resolve()}
    assert resolve("~/new") == Path(home).resolve() / "new"


@pytest.mark.parametrize("path", ["a\0b", "~nobody-of-that-name/x", "circle"])
def test_what_cannot_be_a_path_is_one_line(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(JaxgptError, match="not a path") as error:
        resolve(path)
    assert str(error.value).isprintable()
