"""Which files a corpus is, however it is named; what only lies about in a folder is none of it."""

import os
from pathlib import Path

import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.files import find_files


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A home folder, with a current folder beside it."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JAXGPT_DATA", raising=False)
    return tmp_path / "home"


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"text of {name}")


def texts(name: str | Path) -> list[str]:
    return [path.read_text().removeprefix("text of ") for _, path in find_files(str(name))]


def keys(name: str | Path) -> list[str]:
    return [key for key, _ in find_files(str(name))]


def refused(name: str | Path, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        find_files(str(name))
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_with_brackets_is_a_name_before_it_is_a_glob(home: Path):
    write(Path(), "data[1].txt", "data1.txt", "set[a]/x.txt", "set[a]/y.txt", "seta/x.txt", "a*b.txt")
    assert texts("data[1].txt") == ["data[1].txt"] == texts(Path("data[1].txt").absolute())
    assert texts("data[0-9].txt") == ["data1.txt"]
    assert texts("set[a]") == ["set[a]/x.txt", "set[a]/y.txt"] == texts("set[a]/*.txt")
    assert texts("set?/x.txt") == ["seta/x.txt"]
    assert texts("a*b.txt") == ["a*b.txt"]


@pytest.mark.parametrize("way", ["~/corpus", "~/corpus/*.txt", "~/co*s/*.txt", "~/**/*.txt", "~/corpus/[ab].txt"])
def test_the_home_folder_is_found_in_every_way(way: str, home: Path, monkeypatch):
    write(home, "corpus/a.txt", "corpus/b.txt")
    assert texts(way) == ["corpus/a.txt", "corpus/b.txt"]
    monkeypatch.setenv("JAXGPT_DATA", "~/nowhere")
    assert texts(way) == ["corpus/a.txt", "corpus/b.txt"]
    monkeypatch.setenv("JAXGPT_DATA", "~/corpus")
    assert texts("a.txt") == ["corpus/a.txt"] == texts("[a].txt") == texts("?.txt")[:1]


def test_a_home_or_data_folder_with_brackets(home: Path, monkeypatch):
    write(home / "ho[m]e", "corpus/a.txt", "corpus/b.txt")
    monkeypatch.setenv("HOME", str(home / "ho[m]e"))
    monkeypatch.setenv("JAXGPT_DATA", str(home / "ho[m]e" / "corpus"))
    assert texts("~/corpus/*.txt") == texts("*.txt") == ["corpus/a.txt", "corpus/b.txt"]
    monkeypatch.chdir(home / "ho[m]e")
    monkeypatch.delenv("JAXGPT_DATA")
    assert texts("corpus/*.txt") == ["corpus/a.txt", "corpus/b.txt"]


def test_a_folder_is_its_text_of_any_case_and_nothing_hidden(tmp_path: Path):
    sound = ["B.TXT", "a.txt", "c.JsonL", "d/e.Csv", "d/f.tsv", "g.parquet"]
    stray = [".ipynb_checkpoints/a-checkpoint.txt", ".git/x.txt", ".hidden.txt", ".#a.txt", ".a.txt.swp", "._a.txt"]
    write(tmp_path, *sound, *stray, "a.txt~", "#a.txt#", "a.txt.bak", "d/.cache/y.txt", "readme.md")
    assert texts(tmp_path) == sound
    assert texts(f"{tmp_path}/**/*.txt") == ["a.txt"]
    assert texts(f"{tmp_path}/.git/*.txt") == [".git/x.txt"] == texts(tmp_path / ".git")
    assert texts(f"{tmp_path}/.*.txt") == [".#a.txt", "._a.txt", ".hidden.txt"]


def test_linked_folders_are_read_once(tmp_path: Path):
    write(tmp_path, "corpus/a.txt", "corpus/sub/b.txt", "elsewhere/c.txt", "elsewhere/deep/d.txt")
    before = keys(tmp_path / "corpus")
    for link, target in [("loop", "."), ("again", "sub"), ("sub/up", "..")]:
        (tmp_path / "corpus" / link).symlink_to(target)
    assert keys(tmp_path / "corpus") == before == ["a.txt", "sub/b.txt"]
    for link in ("one", "two"):
        (tmp_path / "corpus" / link).symlink_to(tmp_path / "elsewhere")
    assert keys(tmp_path / "corpus") == ["a.txt", "one/c.txt", "one/deep/d.txt", "sub/b.txt"]
    assert keys(f"{tmp_path}/corpus/**/*.txt") == keys(tmp_path / "corpus")
    assert keys(f"{tmp_path}/**/**/d.txt") == ["d.txt"]


def test_globs_are_those_of_python(tmp_path: Path):
    from glob import glob

    write(tmp_path, "a.txt", "a.md", "ab.txt", "x/a.txt", "x/y/a.txt", "x/y/[b].txt", "x/.h/a.txt", "z.d/q.txt")
    for pattern in (
        "*",
        "*.txt",
        "**",
        "**/*",
        "**/a.txt",
        "x/**",
        "?.txt",
        "[!b]*.txt",
        "*/*.txt",
        "x/**/y/*",
        "*.d/*",
    ):
        wanted = {Path(path) for path in glob(f"{tmp_path}/{pattern}", recursive=True) if Path(path).is_file()}
        assert {path for _, path in find_files(f"{tmp_path}/{pattern}")} == wanted, pattern


def test_what_is_no_file_is_one_line(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.txt")
    refused(tmp_path / "pipe.txt", r"pipe\.txt: is a pipe; give a file, a folder, or a glob")
    refused(tmp_path, r"pipe\.txt: is a pipe")
    refused(f"{tmp_path}/*.txt", r"pipe\.txt: is a pipe")
    refused("/dev/null", r"/dev/null: is a device; give a file")
    (tmp_path / "pipe.txt").unlink()
    (tmp_path / "gone.txt").symlink_to("nowhere")
    refused(tmp_path, r"gone\.txt: cannot be read: No such file or directory; remove it")
    for name in (
        "",
        "a\0b",
        "*\0",
        "~nobody/*.txt",
        "x" * 5000,
        "[",
        "a/[/b",
        f"{tmp_path}/*/x",
        "**/**/**/no",
    ):
        refused(name, "data.corpus: ")


def test_names_that_are_not_utf8_have_a_hash(tmp_path: Path):
    from jaxgpt.text.corpora.named import open_corpus

    for name in (b"\xff.txt", b"\xfe.txt"):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write(b"text")
    assert len(find_files(str(tmp_path))) == 2
    assert len(open_corpus(str(tmp_path), "text", 0.1).hash()) == 64
