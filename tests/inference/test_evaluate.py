"""A trained task in use: `jaxgpt eval` gives the run's own figures, predictions are whole, and folders answer alike."""

import json

import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.inference.convert import convert
from jaxgpt.runs.checkpoint.checkpoint import best_step
from jaxgpt.runs.files.folder import read_metrics
from jaxgpt.spec import ConfigError

WORDS = ["banana", "bandana", "an", "nab", "bad", "dab"]
GPT = {"kind": "gpt2", "num_layers": 1, "d_model": 16, "num_heads": 2, "context": 12, "vocab_size": None}
BERT = GPT | {"kind": "bert", "context": 24}
PIECES = {"kind": "wordpiece", "vocab_size": 40}
FEW = {"batch_size": 8, "steps": 4, "eval": {"every": 2, "batch_size": 6}, "exec.log_every": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 4))) for _ in range(64)]
    label = ["so so" if "bad" in text else "good" if "nab" in text else "other" for text in texts]
    rows = {
        "labels.tsv": [f"{text}\t{name}" for text, name in zip(texts, label, strict=True)],
        "pairs.csv": [f"{a},{b},{(len(a) * 7 + len(b)) % 11 / 2}" for a, b in zip(texts, texts[::-1], strict=True)],
    }
    for name, lines in rows.items():
        (folder / f"train_{name}").write_text("\n".join(lines[14:]) + "\n")
        (folder / f"val_{name}").write_text("\n".join(lines[:14]) + "\n")
    return folder


def of(tiny, folder, name, columns, label, **overrides):
    own = {"corpus": str(folder / f"train_{name}"), "val_corpus": str(folder / f"val_{name}")}
    return tiny(**FEW | overrides | {"data": own | {"columns": columns, "label": label}})


@pytest.fixture(scope="module")
def classifier(tiny, data, tmp_path_factory, one_device):
    """Of three labels, by a GPT-2 on bytes."""
    out = tmp_path_factory.mktemp("classifier") / "out"
    fields = {"objective": "classify", "model": GPT | {"text_head": "task"}}
    jaxgpt.run(of(tiny, data, "labels.tsv", ["1"], "2", **fields), out, quiet=True)
    return out


@pytest.fixture(scope="module")
def rater(tiny, data, tmp_path_factory, one_device):
    """Of pairs, by a BERT."""
    out = tmp_path_factory.mktemp("rater") / "out"
    fields = {"objective": "regress", "model": BERT | {"text_head": "task"}, "tokenizer": PIECES}
    jaxgpt.run(of(tiny, data, "pairs.csv", ["1", "2"], "3", **fields), out, quiet=True)
    return out


@pytest.fixture
def call(jaxgpt_):
    """`call(RUN, "classify", ...)`: exit status, standard output, lines of standard error."""
    return lambda *words: jaxgpt_("eval", *words)


def own_figures(run):
    (row,) = [row for row in read_metrics(run) if row["step"] == best_step(run / "ckpt")]
    return {name.removeprefix("val/"): value for name, value in row.items() if name.startswith("val/")}


@pytest.mark.often("classifier")
@pytest.mark.parametrize(
    ("kind", "task", "name"), [("classifier", "classify", "labels.tsv"), ("rater", "regress", "pairs.csv")]
)
def test_figures_are_the_runs_own(kind, task, name, call, data, tmp_path, request):
    run = request.getfixturevalue(kind)
    status, out, err = call(run, task, "--path", data / f"val_{name}", "--json", tmp_path / "f.json")
    assert (status, err) == (0, []) and f"{task}/rows" in out
    figures = json.loads((tmp_path / "f.json").read_text())
    names = {key.split("/")[1] for key in figures}
    own = {name: value for name, value in own_figures(run).items() if name in names}
    assert 3 * len(own) == len(figures) - 1 and figures.pop(f"{task}/rows") == 14
    for name, value in own.items():
        assert figures[f"{task}/{name}"] == pytest.approx(value, rel=1e-4, abs=1e-5), name
        low, high = (figures[f"{task}/{name}/{end}"] for end in ("low", "high"))
        assert low is None or low <= figures[f"{task}/{name}"] <= high or name == "calibration_error", name


def test_two_models_are_compared_on_the_same_rows_and_none_is_read_twice(call, classifier, data, monkeypatch):
    given = ("classify", "--path", data / "val_labels.tsv", "--limit", "12", "--json", "-")
    status, out, _ = call(classifier, *given, "--fresh")
    assert status == 0 and json.loads(out)["classify/rows"] == 12
    monkeypatch.setattr("jaxgpt.inference.answers.by_length", lambda *_: pytest.fail("a row was read again"))
    status, again, err = call(classifier, *given, "--against", classifier)
    assert err == ["eval: 12 of 12 answers are there from before"] * 2
    figures = json.loads(again)
    assert figures["classify/accuracy"] == json.loads(out)["classify/accuracy"]
    assert figures["classify/accuracy/difference"] == 0 and figures["classify/accuracy/difference/p"] == 1


def test_predictions_are_a_line_each(call, classifier, data, tmp_path):
    path, given = tmp_path / "p.jsonl", ("classify", "--fresh", "--path", data / "val_labels.tsv", "--predictions")
    for _ in range(2):  # the second takes the first one's place
        status, out, err = call(classifier, *given, path, "--json", "-")
        assert (status, err) == (0, [f"predictions: {path}"])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["row"] for row in rows] == list(range(1, 15))
    right = [row["label"] == row["predicted"] for row in rows]
    assert np.mean(right) == pytest.approx(json.loads(out)["classify/accuracy"])
    results = jaxgpt.load(classifier).classify([row["texts"][0] for row in rows], quiet=True)
    assert [result.label for result in results] == [row["predicted"] for row in rows]
    path.write_text("a novel\n")
    status, _, (line,) = call(classifier, *given, path)
    assert status == 2 and "holds no predictions and is not written over" in line and path.read_text() == "a novel\n"


def test_one_class_is_na(call, classifier, tmp_path):
    (tmp_path / "one.tsv").write_text("an\tgood\nnab\tgood\n")
    status, out, err = call(classifier, "classify", "--path", tmp_path / "one.tsv", "--fresh")
    assert (status, err) == (0, []) and "classify/rows" in out


@pytest.mark.parametrize(
    ("task", "text", "line"),
    [
        ("classify", "an\tugly\n", "{path}:1: label 'ugly' is none of the training rows'; known: good, other, so so"),
        ("classify", "", "{path}: holds no rows"),
        ("classify", "text1\ttext2\tlabel\nan\tnab\tgood\n", "{path}:2: 2 texts a row, and the model was trained on 1"),
        ("choice", "an\tnab\tdab\t1\n", "choice: these weights answer by objective classify; use m.classify, and in"),
    ],
)
def test_bad_files_are_one_line(call, classifier, tmp_path, task, text, line):
    path = tmp_path / "rows.tsv"
    path.write_text(text)
    status, out, (said,) = call(classifier, task, "--path", path, "--predictions", tmp_path / "p.jsonl")
    assert (status, out) == (2, "") and said.startswith("error: " + line.format(path=path))
    assert not (tmp_path / "p.jsonl").exists()


@pytest.mark.slow
def test_a_run_becomes_a_folder_that_answers_alike(classifier, rater, tmp_path, capsys):
    convert(classifier, tmp_path / "labels")
    notes = capsys.readouterr().err
    assert (
        "bias and scale of the task's output lie in the weights" in notes
        and "the output over the vocabulary was" in notes
    )
    config = json.loads((tmp_path / "labels" / "config.json").read_text())
    assert config["architectures"] == ["GPT2ForSequenceClassification"]
    assert config["id2label"] == {"0": "good", "1": "other", "2": "so so"} and config["pad_token_id"] is not None
    ours, theirs = (jaxgpt.load(path).classify(WORDS, quiet=True) for path in (classifier, tmp_path / "labels"))
    for one, other in zip(ours, theirs, strict=True):
        assert_close(list(other.probabilities.values()), list(one.probabilities.values()), 3e-6)
    convert(rater, tmp_path / "scores")
    pairs = [("an nab", "bad"), ("dab", "banana an")]
    assert_close(jaxgpt.load(tmp_path / "scores").rate(pairs), jaxgpt.load(rater).rate(pairs), 3e-6)
    assert json.loads((tmp_path / "scores" / "config.json").read_text())["problem_type"] == "regression"


def test_other_formats_have_no_place_for_it(classifier, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.gguf: GGUF has no place for a text head; write a folder"):
        convert(classifier, tmp_path / "model.gguf")
    with pytest.raises(ConfigError, match=r"model\.lm_head: false, so these weights score no vocabulary"):
        convert(classifier, tmp_path / "folder")
        jaxgpt.load(tmp_path / "folder").logits([[1, 2]])


def test_another_number_of_texts_than_in_training_is_told(rater):
    with pytest.raises(ConfigError, match=r"texts: row 0 is \('an',\); expected a pair of texts, as in training"):
        jaxgpt.load(rater).rate(["an"])


def test_an_adapter_comes_along(classifier, tiny, data, tmp_path):
    """Trained on the classifier: it answers otherwise, and the base as before."""
    model = GPT | {"text_head": "task", "adapter": {"kind": "lora", "rank": 2}}
    fields = {"objective": "classify", "model": model, "start": str(classifier), "steps": 2}
    jaxgpt.run(of(tiny, data, "labels.tsv", ["1"], "2", **fields), tmp_path / "run", quiet=True)
    whole, base = jaxgpt.load(tmp_path / "run"), jaxgpt.load(classifier)
    laid_on = jaxgpt.load(classifier, adapter=tmp_path / "run")
    answers = [[list(each.probabilities.values()) for each in m.classify(WORDS)] for m in (whole, laid_on, base)]
    assert_close(answers[1], answers[0])
    assert np.abs(np.array(answers[2]) - answers[0]).max() > 1e-3
    assert_close([list(each.probabilities.values()) for each in laid_on.with_adapter(None).classify(WORDS)], answers[2])
