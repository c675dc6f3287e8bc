"""`eval.tasks`: figures while a run trains are those of `jaxgpt eval` afterwards; errors come before any step."""

import json

import pytest

import jaxgpt
from jaxgpt.evals.tasks import Choice, Retrieval
from jaxgpt.inference.asked import Asked
from jaxgpt.runs.files.folder import read_metrics
from jaxgpt.spec import ConfigError


@pytest.fixture
def riddles(tmp_path):
    rows = [{"query": f"def f{i}", "choices": ["(a)", "[b]"], "gold": i % 2} for i in range(10)]
    (tmp_path / "riddles.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(tmp_path / "riddles.jsonl")


def test_figures_beside_the_loss_are_those_of_the_checkpoint(little, tmp_path, riddles):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("def f1,(a)\ndef f2,[b]\n")
    tasks = [
        {"kind": "choice", "path": riddles, "name": "riddles"},
        {"kind": "perplexity", "path": riddles, "column": "query"},
        {"kind": "retrieval", "path": str(pairs), "pooling": "mean"},
    ]
    run = little(steps=4, eval={"every": 2, "tasks": tasks})
    jaxgpt.run(run, tmp_path / "out", quiet=True)
    rows = [row for row in read_metrics(tmp_path / "out") if "val/riddles/accuracy/sum" in row]
    assert [row["step"] for row in rows] == [2, 4] and all("val/loss" in row for row in rows)
    model = jaxgpt.load(tmp_path / "out", best=False)
    after = Choice(path=riddles, name="riddles").opened()(Asked(model, quiet=True)).figures
    for scoring in ("sum", "per_token", "per_character"):
        assert rows[-1][f"val/riddles/accuracy/{scoring}"] == after[f"riddles/accuracy/{scoring}"]
    assert rows[-1]["val/perplexity/per_token"] > 1
    found = Retrieval(path=str(pairs), pooling="mean").opened()(Asked(model, quiet=True)).figures
    assert rows[-1]["val/retrieval/mrr@10"] == found["retrieval/mrr@10"] > 0


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([{"kind": "choice", "path": "nowhere.jsonl"}], "nowhere.jsonl' is not there"),
        ([{"kind": "choise", "path": "a"}], "did you mean 'choice'"),
        ([{"kind": "choice", "path": "a"}] * 2, "eval.tasks are called choice, choice; give each a name of its own"),
        ([{"kind": "choice"}], "eval.tasks"),
    ],
)
def test_errors_come_before_any_step(little, tmp_path, tasks, message):
    with pytest.raises(ConfigError, match=message):
        jaxgpt.run(little(eval={"tasks": tasks}), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_an_encoder_is_asked_nothing_in_words(little, tmp_path, riddles):
    model = {"kind": "bert", "num_layers": 1, "d_model": 8, "num_heads": 2, "context": 16, "vocab_size": None}
    asked = {"tasks": [{"kind": "choice", "path": riddles}]}
    run = little(model=model, objective="masked_language_model", tokenizer="wordpiece", eval=asked)
    with pytest.raises(
        ConfigError, match=r"eval\.tasks: choice: model bert continues no text; leave it out, or use a decoder"
    ):
        jaxgpt.run(run, tmp_path / "out", quiet=True)


def test_a_head_that_is_not_there_is_told_before_any_step(little, tmp_path):
    (tmp_path / "rows.tsv").write_text("fine\tgood\n")
    task = {"kind": "text_head", "form": "classify", "path": str(tmp_path / "rows.tsv")}
    with pytest.raises(ConfigError, match=r"eval\.tasks: model\.text_head: these weights have no head"):
        jaxgpt.run(little(eval={"tasks": [task]}), tmp_path / "out", quiet=True)


def test_data_that_changed_are_another_runs(little, tmp_path, riddles):
    run = little(steps=2, schedule="constant", eval={"tasks": [{"kind": "choice", "path": riddles}]})
    jaxgpt.run(run, tmp_path / "out", quiet=True)
    with open(riddles, "a") as file:
        file.write("\n" + json.dumps({"query": "x", "choices": ["a", "b"], "gold": 0}))
    with pytest.raises(ConfigError, match=r"eval.tasks: choice: has changed since"):
        jaxgpt.run(run.evolve(steps=4), tmp_path / "out", quiet=True)
