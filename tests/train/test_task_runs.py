"""A task, trained: it is learned in seconds, judged by its own metric on all held-out rows, alone and in lanes."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from close import assert_close
from pair import Pair, train_words

import jaxgpt
from jaxgpt import run
from jaxgpt.ops.metrics.accuracy import accuracy
from jaxgpt.ops.metrics.roc_auc import roc_auc
from jaxgpt.runs.checkpoint.checkpoint import best_step
from jaxgpt.runs.files.folder import read_metrics
from jaxgpt.spec import ConfigError, dump_yaml
from jaxgpt.train.fused.loop import run_fused

LETTERS = list("abcdefgz")
TASK = {
    "objective": "classify",
    "model.text_head": {"kind": "task", "dropout": 0.1},
    "model.vocab_size": None,
    "model.num_layers": 1,
    "batch_size": 32,
    "steps": 60,
    "optim": {"kind": "adamw", "lr": 1e-2},
    "schedule": "constant",
    "eval": {"every": 20, "batch_size": 24},
    "exec.log_every": 20,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Words, and whether they have a z in them: 400 to train on, 58 held out, which fill no two batches of 24."""
    folder, rng = tmp_path_factory.mktemp("words"), np.random.default_rng(0)
    rows = [("".join(rng.choice(LETTERS, rng.integers(2, 9), p=[0.13] * 7 + [0.09])),) for _ in range(458)]
    lines = [f"{word}\t{'zed' if 'z' in word else 'none'}\n" for (word,) in rows]
    (folder / "train.tsv").write_text("".join(lines[58:]))
    (folder / "val.tsv").write_text("".join(lines[:58]))
    return {"corpus": str(folder / "train.tsv"), "val_corpus": str(folder / "val.tsv"), "columns": ["1"], "label": "2"}


@pytest.fixture(scope="module")
def spec(tiny, data):
    return lambda **overrides: tiny(**(TASK | {"data": data} | overrides))


@pytest.fixture(scope="module")
def trained(spec, tmp_path_factory, one_device):
    out = tmp_path_factory.mktemp("trained") / "out"
    return out, run(spec(), out, quiet=True)


def test_it_is_learned(trained):
    """The commoner label alone would be right of six in ten words."""
    _, result = trained
    assert result["best_val/accuracy"] >= 0.95 and result["val/roc_auc"] > 0.98


def test_figures_are_those_of_all_held_out_rows(trained, data):
    """Each once, though the last batch is filled up; of the best checkpoint, which is what is loaded."""
    out, _ = trained
    m = jaxgpt.load(out)
    (row,) = [row for row in read_metrics(out) if row["step"] == best_step(out / "ckpt")]
    rows = [line.split("\t") for line in Path(data["val_corpus"]).read_text().splitlines()]
    assert m.model.text_head.labels == ("none", "zed")
    target = np.array([label == "zed" for _, label in rows], int)
    ids = m.tokenizer.framed([word for word, _ in rows], 8)
    real = np.arange(8) < np.array([len(each) for each in ids])[:, None]
    tokens = np.stack([np.pad(each, (0, 8 - len(each))) for each in ids])
    read = jax.jit(lambda *given: m.model.build().apply({"params": m.params}, *given, method="represent"))
    outputs = np.asarray(read(tokens.astype(np.int32), real.astype(np.int32)))
    assert row["val/accuracy"] == pytest.approx(accuracy(outputs.argmax(1), target))
    assert row["val/roc_auc"] == pytest.approx(roc_auc(outputs[:, 1] - outputs[:, 0], target == 1))
    nll = -jax.nn.log_softmax(outputs)[np.arange(len(rows)), target]
    assert_close(row["val/loss"], nll.mean())
    names = ("f1", "f1_macro", "matthews", "average_precision", "calibration_error")
    assert {f"val/{name}" for name in names} <= row.keys()


def test_the_best_checkpoint_is_that_of_the_metric(trained):
    out, result = trained
    scores = {row["step"]: row["val/accuracy"] for row in read_metrics(out) if "val/accuracy" in row}
    assert list(scores) == [20, 40, 60] and result["best_val/accuracy"] == max(scores.values())
    assert best_step(out / "ckpt") == max(scores, key=scores.get)


def test_patience_waits_for_the_metric(spec, tmp_path, one_device):
    """The accuracy of a model that does not move stays as it is, whatever its loss does."""
    patient = spec(**{"optim.lr": 1e-9, "eval": {"every": 20, "batch_size": 24, "patience": 1, "metric": "roc_auc"}})
    result = run(patient, tmp_path, quiet=True)
    assert (result["step"], result["status"]) == (40, "finished") and "best_val/roc_auc" in result


@pytest.mark.slow
def test_lanes_measure_what_runs_alone_do(spec, trained, tmp_path):
    _, alone = trained
    outs = [tmp_path / "0", tmp_path / "1"]
    lanes = run_fused([spec(), spec(seed=1)], outs, quiet=True)
    for name, value in alone.items():
        if name.startswith(("val/", "best_val/")):
            assert lanes[0][name] == pytest.approx(value, abs=0.02) and lanes[1][name] != pytest.approx(0.5, abs=0.01)
    assert json.loads((outs[1] / "result.json").read_text())["best_val/accuracy"] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["choice", pytest.param("similarity", marks=pytest.mark.slow)])
def test_the_other_tasks_are_learned(spec, tmp_path, kind, one_device):
    """Which of two or three candidates has a z in it; and how many z two texts have together."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(400):
        words = ["".join(rng.choice(LETTERS[:-1], 3)) for _ in range(rng.integers(2, 4))]
        right = int(rng.integers(len(words)))
        choices = [word[:2] + "z" if i == right else word for i, word in enumerate(words)]
        counts = rng.integers(0, 4, 2)
        pair = ["z" * n + words[0][: 3 - n] for n in counts]
        rows.append(
            {"text": "a", "choices": choices, "right": right}
            if kind == "choice"
            else {"first": pair[0], "second": pair[1], "score": float(counts.sum())}
        )
    lines = [json.dumps(row) + "\n" for row in rows]
    files = {"corpus": tmp_path / "train.jsonl", "val_corpus": tmp_path / "val.jsonl"}
    for path, part in zip(files.values(), (lines[80:], lines[:80]), strict=True):
        path.write_text("".join(part))
    *columns, label = rows[0]
    task = spec(
        **{
            "data": {name: str(path) for name, path in files.items()} | {"columns": columns, "label": label},
            "objective": {"kind": kind, "lm_weight": 0.1},
            "tokenizer": {"kind": "marked", "base": "byte"},
            "model.context": 12,
        }
    )
    result = run(task, tmp_path / "out", quiet=True)
    name, least = ("val/accuracy", 0.9) if kind == "choice" else ("val/spearman", 0.9)
    assert result[f"best_{name}"] >= least, result


@pytest.mark.slow
def test_two_processes_measure_what_one_does(spec, trained, tmp_path):
    """Each has half of the rows; both measure all of them."""
    _, alone = trained
    (tmp_path / "run.yaml").write_text(dump_yaml(spec()))
    with Pair(train_words(tmp_path / "run.yaml", tmp_path / "out"), tmp_path) as pair:
        assert pair.wait() == [0, 0], pair.said(0) + pair.said(1)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result.keys() == alone.keys()
    for name in ("val/loss", "val/accuracy", "val/roc_auc", "best_val/accuracy"):
        assert result[name] == pytest.approx(alone[name], abs=0.01)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"eval.metric": "acuracy"}, r"eval\.metric 'acuracy' is not measured .* did you mean 'accuracy'"),
        ({"eval.metric": "sts"}, r"eval\.metric 'sts' is not measured of objective classify"),
        ({"data.val_corpus": None, "data.val_fraction": 0, "eval.metric": "f1"}, r"val/f1, but nothing is held out"),
        (
            {"objective": {"kind": "classify", "class_weights": (1.0, 2.0, 3.0)}},
            r"weights: 3 weights for 2 labels: none",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_line(spec, changes, line, tmp_path):
    with pytest.raises(ConfigError, match=line) as caught:
        run(spec(**changes), tmp_path / "out", quiet=True)
    assert len(caught.value.problems) == 1 and not (tmp_path / "out").exists()
