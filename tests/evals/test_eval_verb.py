"""`jaxgpt eval`: a table or JSON on standard output, and one line for bad input, before a model is looked at."""

import json
from pathlib import Path

import pytest

import jaxgpt
from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.inference.loaded import Loaded
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import BERT
from jaxgpt.text import WordPiece

WORDS = ["banana", "bandana", "an", "nab", "bad", "dab"]
FACTS = {"sts/pairs", "sts/uniformity"}
PAIRS = "banana an,nab,4.5\nbad dab,an an,1\nbanana,bandana nab,3\ndab,nab,2.25\n"


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("eval")
    codec = WordPiece(vocab_size=40).train(lambda: WORDS * 3)
    size = {"num_layers": 1, "d_model": 8, "num_heads": 2, "context": 16, "vocab_size": 40}
    model = BERT(**size, masked_head=False, feed_forward={"kind": "mlp", "d_ff": 12, "activation": "gelu"})
    write_folder(out / "model", model, weights(model), codec)
    (out / "data").mkdir()
    (out / "data" / "pairs.csv").write_text(PAIRS)
    lines = PAIRS.splitlines()
    many = [f"{line.rpartition(',')[0]},{(7 * i) % 11 / 2}" for i in range(30) for line in [lines[i % 4]]]
    (out / "data" / "many.csv").write_text("\n".join(many) + "\n")
    (out / "data" / "answers.tsv").write_text("nab\tbad dab\ndab\tbad dab\nan\tbanana\n")
    (out / "data" / "odd.csv").write_text("a,b,c\n")
    return out


@pytest.fixture
def call(monkeypatch, jaxgpt_, folder):
    """`call("MODEL", "sts", ...)`: exit status, standard output, lines of standard error; data lie in JAXGPT_DATA."""
    monkeypatch.setenv("JAXGPT_DATA", str(folder / "data"))

    return lambda *words: jaxgpt_("eval", *(folder / "model" if word == "MODEL" else word for word in words))


def test_a_table_and_a_file(call, folder, tmp_path):
    status, out, err = call("MODEL", "sts", "--path", "pairs.csv", "--json", str(tmp_path / "a" / "figures.json"))
    assert (status, err) == (0, [])
    figures = json.loads((tmp_path / "a" / "figures.json").read_text())
    want = sts(jaxgpt.load(folder / "model").encode, read_subsets(folder / "data" / "pairs.csv")).figures
    ends = {f"{name}/{end}": figures.pop(f"{name}/{end}") for name in want.keys() - FACTS for end in ("low", "high")}
    assert figures == pytest.approx(want, rel=1e-5) and {*ends.values()} == {None}  # of four items
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows.keys() == want.keys() | {"figure"} and rows["sts/pairs"] == ["4"]
    assert float(rows["sts/alignment"][0]) == pytest.approx(figures["sts/alignment"], rel=1e-3)
    assert rows["sts/all"][1:] == ["n/a", "to", "n/a"]


def test_pairs_and_queries_have_intervals_a_limit_and_predictions(call, folder, tmp_path):
    """Another model is compared on the same ones."""
    where = tmp_path / "p.jsonl"
    status, out, err = call("MODEL", "sts", "--path", "many.csv", "--predictions", str(where), "--json", "-")
    figures = json.loads(out)
    assert (status, err) == (0, [f"predictions: {where}"])
    assert figures["sts/all/low"] < figures["sts/all"] < figures["sts/all/high"]
    rows = [json.loads(line) for line in where.read_text().splitlines()]
    assert len(rows) == figures["sts/pairs"] == 30 and rows[0]["texts"] == ["banana an", "nab"]
    assert json.loads(call("MODEL", "sts", "--path", "many.csv", "--limit", "11", "--json", "-")[1])["sts/pairs"] == 11
    given = ("retrieval", "--path", "answers.tsv", "--limit", "2", "--json", "-")
    few = json.loads(call("MODEL", *given)[1])
    assert (few["retrieval/queries"], few["retrieval/documents"]) == (2, 2)
    same = json.loads(call("MODEL", "sts", "--path", "many.csv", "--against", "MODEL", "--json", "-")[1])
    assert same["sts/all/difference"] == same["sts/all/difference/high"] == 0 and same["sts/all/difference/p"] == 1


def test_figures_take_the_place_of_earlier_figures_alone(call, folder, tmp_path):
    """A user's own file is refused before the model is looked at; with `NOWHERE` there is none."""
    path, own = tmp_path / "figures.json", tmp_path / "pairs.json"
    for task, data in (("sts", "pairs.csv"), ("retrieval", "answers.tsv")):
        assert call("MODEL", task, "--path", data, "--json", str(path))[0] == 0
    assert json.loads(path.read_text())["retrieval/documents"] == 2
    for text in ("", "a,b,5", "{}", "[1]", '{"model_type": "bert", "hidden_size": 8}'):
        own.write_text(text)
        status, out, err = call("NOWHERE", "sts", "--path", "pairs.csv", "--json", str(own))
        line = f"error: --json: '{own}' is there already, holds no figures and is not written over; choose another name"
        assert (status, out, err, own.read_text()) == (2, "", [line], text)


def test_json_on_standard_output_with_another_pooling(call, folder):
    answers = str(folder / "data" / "answers.tsv")
    status, out, err = call("MODEL", "retrieval", "--path", answers, "--json", "-", "--batch-size", "2")
    assert (status, err) == (0, []) and json.loads(out)["retrieval/documents"] == 2
    _, out, _ = call("MODEL", "sts", "--path", "pairs.csv", "--json", "-")
    _, other, _ = call("MODEL", "sts", "--path", "pairs.csv", "--json", "-", "--pooling", "cls")
    assert json.loads(out)["sts/uniformity"] != json.loads(other)["sts/uniformity"]


def test_a_picture_encodes_nothing_twice(call, monkeypatch, tmp_path):
    asked, encode = [], Loaded.encode
    monkeypatch.setattr(
        Loaded, "encode", lambda model, texts, *rest: asked.extend(texts) or encode(model, texts, *rest)
    )
    status, out, err = call("MODEL", "sts", "--path", "pairs.csv", "--picture", str(tmp_path / "heat.png"))
    assert (status, err) == (0, [f"heat map: {tmp_path}/heat.png"]) and "sts/all" in out
    assert (tmp_path / "heat.png").read_bytes().startswith(b"\x89PNG")
    assert len(asked) == len(set(asked)) == 7


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere", "stss", "--path", "pairs.csv"], "task: unknown 'stss'; did you mean 'sts'?"),
        (["nowhere", "perplexed", "--path", "pairs.csv"], "task: unknown 'perplexed'; did you mean 'perplexity'"),
        (["nowhere", "clasify", "--path", "pairs.csv"], "task: unknown 'clasify'; did you mean 'classify'?"),
        (["nowhere", "classify", "--path", "pears.csv"], "--path: 'pears.csv' is not there: tried "),
        (
            ["nowhere", "classify", "--path", "pairs.csv", "--pooling", "cls"],
            "nowhere: is not there",
        ),
        (
            ["MODEL", "classify", "--path", "pairs.csv", "--pooling", "cls"],
            "--pooling: task 'classify' takes none; leave it out (it is for retrieval, sts)",
        ),
        (
            ["nowhere", "cloze", "--path", "pairs.csv", "--picture", "a.png"],
            "--picture: task 'cloze' has no scored pairs to draw; leave the option out, or ask for sts",
        ),
        (
            ["nowhere", "regress", "--path", "pairs.csv", "--predictions", "a.csv"],
            "--predictions: 'a.csv' does not end",
        ),
        (["MODEL", "classify", "--path", "pairs.csv"], "model.text_head: these weights have no head for tasks; train"),
        (["nowhere", "sts", "--path", "pears.csv"], "--path: 'pears.csv' is not there: tried "),
        (["nowhere", "sts", "--path", "odd.csv"], "{data}/odd.csv:1: score 'c' is no number"),
        (["nowhere", "sts", "--path", "pairs.csv"], "nowhere: is not there"),
        (["nowhere", "sts"], "--path: is missing; task 'sts' needs data"),
        (["MODEL", "sts", "--path", "pairs.csv", "--pooling", "men"], "pooling: unknown 'men'; did you mean 'mean'?"),
        (["nowhere", "sts", "--path", "pairs.csv", "--picture", "a.txt"], "--picture: 'a.txt' does not end in a pic"),
        (["nowhere", "sts", "--path", "pairs.csv", "--picture", "no/a.png"], "--picture: 'no/a.png': there is no fol"),
        (["nowhere", "retrieval", "--path", "answers.tsv", "--picture", "a.png"], "--picture: task 'retrieval' has no"),
        (["MODEL", "sts", "--path", "pairs.csv", "--batch-size", "0"], "Invalid value for '--batch-size'"),
    ],
)
def test_bad_words_are_one_line(call, folder, words, line):
    status, out, err = call(*words)
    assert (status, out, len(err)) == (2, "", 1)
    assert err[0].replace(f"{Path.cwd()}/", "").startswith("error: " + line.format(data=folder / "data"))
