"""`jaxgpt eval` of tasks in words: kinds, recipes, tasks of one's own, two models, one line for bad input."""

import json

import pytest

from jaxgpt import shipped
from jaxgpt.evals import EvalTask
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2
from jaxgpt.spec.yamlio import load_yaml
from jaxgpt.text.tokenizers.byte_bpe import ByteBPE

MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=280, context=64)
OWN = '''
"""A task of one's own."""
from jaxgpt.evals.tasks import Choice


class Riddles(Choice):
    prompt: str = "{query} Answer:"
    limit: int | None = 3
'''


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("words")
    rows = [{"query": f"What is {i}?", "choices": [f"a{i}", "b"], "gold": i % 2} for i in range(12)]
    text = "\n".join(map(json.dumps, rows))
    (out / "riddles.jsonl").write_text(text)
    (out / "own.py").write_text(OWN)
    (out / "rows.tsv").write_text("fine\t1\nbad\t0\n" * 5)
    codec = ByteBPE(vocab_size=280).train(lambda: [text])
    for name, std in (("a", 0.3), ("b", 0.2)):
        write_folder(out / name, MODEL, weights(MODEL, std=std), codec)
    return out


@pytest.fixture
def call(monkeypatch, jaxgpt_, folder, tmp_path):
    monkeypatch.setenv("JAXGPT_DATA", str(folder))
    monkeypatch.setenv("JAXGPT_CACHE", str(tmp_path / "cache"))

    def run(*words, json_out=True):
        more = ["--json", "-"] if json_out else []
        status, out, err = jaxgpt_("eval", *words, *more)
        return status, json.loads(out) if json_out and out else out, err

    return run


def test_figures_come_with_their_intervals(call, folder, tmp_path):
    status, figures, err = call(folder / "a", "choice", "--path", "riddles.jsonl", "--shots", "2")
    assert (status, err) == (0, [])
    name = "choice/accuracy/sum"
    assert figures[f"{name}/low"] <= figures[name] <= figures[f"{name}/high"]
    assert (figures["choice/items"], figures["choice/shots"]) == (12, 2)
    status, again, err = call(folder / "a", "choice", "--path", "riddles.jsonl", "--shots", "2")
    assert again == figures and err == ["eval: 24 of 24 answers are there from before"]
    fresh = call(folder / "a", "choice", "--path", "riddles.jsonl", "--shots", "2", "--fresh")
    assert fresh == (0, figures, [])


def test_a_table_and_predictions(call, folder, tmp_path):
    path = tmp_path / "p.jsonl"
    status, out, _ = call(
        folder / "a", "cloze", "prompt={query}", "word=query", "--path", "riddles.jsonl", "--predictions", path,
        json_out=False,
    )  # fmt: skip
    assert status == 0 and "95% interval" in out and " to " in out
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["row"] for row in rows] == list(range(1, 13)) and rows[0]["answer"] == "0?"


def test_a_task_of_ones_own_is_a_task_by_name(call, folder):
    for word in ("own.py", "own.py:riddles"):
        status, figures, err = call(folder / "a", folder / word, "--path", "riddles.jsonl")
        assert (status, figures["riddles/items"]) == (0, 3), err
    assert call(folder / "a", folder / "own.py:riddle", "--path", "riddles.jsonl")[2] == [
        f"error: {folder}/own.py:riddle: declares riddles; name one of them as FILE.py:NAME"
    ]


def test_two_models_on_the_same_items(call, folder):
    status, figures, _ = call(folder / "a", "choice", "--path", "riddles.jsonl", "--against", folder / "b")
    name = "choice/accuracy/sum"
    assert status == 0
    assert figures[f"{name}/difference"] == pytest.approx(figures[name] - figures[f"{name}/against"])
    assert 0 < figures[f"{name}/difference/p"] <= 1
    status, out, _ = call(folder / "a", "choice", "--path", "riddles.jsonl", "--against", folder / "b", json_out=False)
    assert status == 0 and "difference" in out


def test_every_recipe_is_a_task():
    names = [name for name in shipped.names("config") if name.startswith("eval/")]
    assert len(names) >= 12
    for name in names:
        task = load_yaml(EvalTask, shipped.names("config")[name])
        assert f"jaxgpt eval MODEL {name}" in shipped.names("config")[name].read_text() and task.path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chioce", "--path", "riddles.jsonl"], "task: unknown 'chioce'; did you mean 'choice'?"),
        (["choice"], "--path: is missing; task 'choice' needs data"),
        (["choice", "--path", "nowhere.jsonl"], "is not there"),
        (["choice", "--path", "riddles.jsonl", "shot=3"], "shot: unknown field; did you mean 'shots'?"),
        (["choice", "--path", "riddles.jsonl", "--shots", "-1"], "shots"),
        (["choice", "--path", "riddles.jsonl", "prompt={quary}"], "no field 'quary'; did you mean 'query'?"),
        (["cloze", "--path", "riddles.jsonl"], "name the one to use as prompt"),
        (
            ["eval/copa", "--pooling", "mean"],
            "--pooling: task 'eval/copa' takes none; leave it out (it is for retrieval, sts)",
        ),
        (
            ["sts", "--path", "rows.tsv", "--shots", "2"],
            "--shots: task 'sts' takes none; leave it out (it is for choice, classify, cloze, generate",
        ),
    ],
)
def test_bad_input_is_one_line_before_any_model(call, words, message):
    status, out, err = call("NOWHERE", *words, json_out=False)
    assert (status, out) == (2, "") and len(err) == 1 and message in err[0]
