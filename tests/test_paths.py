"""A path means the same to every printed, field and entry point, however it is written."""

import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxgpt
from jaxgpt.inference.convert import convert
from jaxgpt.runs import Run
from jaxgpt.spec import dump_yaml, load_yaml

NAMES = {"plain": "run", "spaces": "a run", "brackets": "r[1]", "other letters": "Läufe-実行", "long": "r" * 200}
WAYS = ["whole", "relative", "up", "down and up", "home", "link", "link above", "slash"]
TEXT = "one two three four five six seven eight nine ten " * 40


def written(way: str, path: Path) -> str:
    """`path`, which lies in a folder beside the current one, in one of the ways to write it."""
    beside = path.parent.name
    link = path.parent / "link"
    if way == "link":
        link = path.parent / f"link to {path.name[:20]}"
    if way.startswith("link") and not link.is_symlink():
        link.symlink_to(path if way == "link" else path.parent)
    return {
        "whole": str(path),
        "relative": os.path.relpath(path),
        "up": f"../{beside}/{path.name}",
        "down and up": f"{Path.cwd()}/../{beside}/./../{beside}/{path.name}",
        "home": f"~/../{beside}/{path.name}",
        "link": str(link),
        "link above": str(link / path.name),
        "slash": f"../{beside}//{path.name}/",
    }[way]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder to work in, with one beside it."""
    root = tmp_path_factory.mktemp("paths").resolve()
    for name in ("work", "runs", "home"):
        (root / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root / "work")
        patch.setenv("HOME", str(root / "home"))
        patch.setenv("COLUMNS", "200")
        yield root


@pytest.fixture(scope="module")
def config(here, tiny):
    """A run of 2 steps on a text beside the current folder."""
    text = here / "runs" / "the text.txt"
    text.write_text(TEXT)
    fixed = {"model.num_layers": 1, "model.vocab_size": None, "data.corpus": str(text), "data.val_tokens": 64}
    path = here / "runs" / "little.yaml"
    path.write_text(dump_yaml(tiny(**(fixed | {"steps": 2}))))
    return path


@pytest.fixture(scope="module")
def run(here, config):
    """A trained run beside the current folder, one copy for each name."""
    first = here / "runs" / NAMES["plain"]
    jaxgpt.run(load_yaml(Run, config), first, quiet=True)
    for name in NAMES.values():
        if not (here / "runs" / name).exists():
            shutil.copytree(first, here / "runs" / name)
    return first


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_loads(here, run, name, way):
    path = written(way, here / "runs" / NAMES[name])
    if name != "plain" and way not in ("up", "link"):
        pytest.skip("the ways are tried on a plain name")
    found, wanted = (jax.tree.leaves(jaxgpt.load(place).params) for place in (path, run))
    assert all(map(np.array_equal, found, wanted))


def test_a_run_trained_from_its_own_folder_is_found(run, printed, monkeypatch):
    monkeypatch.chdir(run / "ckpt")
    assert json.loads(printed("train", "../config.yaml", "--out", ".."))["step"] == 2
    assert jaxgpt.load("..").spec == jaxgpt.load(run).spec


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_saved_and_goes_on(here, config, printed, name):
    new = here / "runs" / f"{NAMES[name]} new"
    again, ways = f"../runs/{new.name}", ("up", "home", "whole")
    first = printed("train", f"../runs/{config.name}", "--out", again)
    for way in ways:
        assert printed("train", written(way, config), "--out", written(way, new)) == first
    assert jaxgpt.load(again).spec == jaxgpt.load(new).spec


@pytest.mark.parametrize("way", WAYS)
def test_every_verb_finds_a_config(config, printed, way):
    if way != "slash":
        assert json.loads(printed("show", written(way, config), "--json"))["params"] > 0


def test_pictures_and_figures_are_written_where_they_are_asked(here, run, printed):
    printed("show", "../runs/little.yaml", "--pattern", "~/../runs/who [1].svg")
    assert (here / "runs" / "who [1].svg").is_file()
    pairs = here / "runs" / "pairs.tsv"
    pairs.write_text("sentence1\tsentence2\tscore\none\ttwo\t1\nthree\tfour\t2\nfive\tsix\t4\n")
    where = ["--json", "../runs/new folder/figures.json", "--picture", "../runs/../runs/heat.svg"]
    printed("eval", "../runs/run", "sts", "--path", "../work/../runs/pairs.tsv", *where)
    assert json.loads((here / "runs/new folder/figures.json").read_text())["sts/pairs"] == 3
    assert (here / "runs" / "heat.svg").is_file()


def test_a_run_is_sampled_and_converted(here, run, printed):
    assert printed("sample", "../runs/r[1]", "--prompt", "one", "--max-new", 2).startswith("one")
    printed("convert", "~/../runs/r[1]", "../runs/out [2]/converted", "--dtype", "float32")
    convert("../runs/run", "~/there")
    for path in (here / "runs/out [2]/converted", here / "home/there"):
        assert (path / "model.safetensors").is_file() and jaxgpt.load(path)


@pytest.mark.parametrize("way", WAYS)
def test_the_fields_of_a_config_find_their_files(here, run, config, way):
    from jaxgpt.text.corpora.locate import locate

    for path in (run, here / "runs" / "r[1]", here / "runs" / "the text.txt"):
        if way == "slash" and path.is_file():
            continue
        assert locate(written(way, path), "start").samefile(path)


def test_a_run_starts_from_another_and_keeps_the_words_of_its_config(here, run, config):
    spec = load_yaml(Run, config, ["start=../runs/run", "data.corpus=../runs/the text.txt"])
    out = Path("../runs/second")
    jaxgpt.run(spec, out, quiet=True)
    held = load_yaml(Run, out / "config.yaml")
    assert (held.start, held.data.corpus) == ("../runs/run", "../runs/the text.txt")
    assert jaxgpt.run(spec, out.resolve(), quiet=True)["step"] == 2


def test_the_folders_of_the_environment(here, config, run, monkeypatch):
    from jaxgpt.disk import cache_dir
    from jaxgpt.text.corpora.locate import locate

    for given in ("~/../runs", "../runs", str(here / "runs")):
        monkeypatch.setenv("JAXGPT_CACHE", given)
        monkeypatch.setenv("JAXGPT_DATA", given)
        assert cache_dir() == here / "runs"
        assert locate("the text.txt", "data.corpus") == here / "runs" / "the text.txt"


def test_an_experiment_finds_its_base(here, config, printed):
    """From another folder, through `..`, and with a base in the home folder."""
    arms = "{'one': {}, 'two': {'optim.lr': 0.5}}"
    for name, base in (("near", "little.yaml"), ("far", "../runs/little.yaml"), ("home", "~/../runs/little.yaml")):
        question = here / "runs" / f"{name}.py"
        question.write_text(
            "from jaxgpt.lab import Experiment\n"
            f"experiment = Experiment(question='?', base={base!r}, arms={arms}, baseline='one', seeds=2)\n"
        )
        printed("lab", "plan", f"../runs/{name}.py", "--out", f"../runs/sweeps/{name}")
        assert "waiting" in printed("lab", "status", f"~/../runs/sweeps/{name}")
        assert "no run of this arm" in printed("lab", "why", f"../runs/sweeps/{name}")


def test_a_link_to_a_file_keeps_its_name(here, run, config):
    """Hugging Face's cache links `model.gguf` to a file that is named by its digest."""
    convert(run, here / "runs" / "0123abc.gguf")
    shutil.move(here / "runs" / "0123abc.gguf", here / "runs" / "0123abc")
    (here / "runs" / "weights.gguf").symlink_to("0123abc")
    assert jaxgpt.load("../runs/weights.gguf").params
