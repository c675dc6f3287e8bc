"""Similarity's figures against their definitions, on subsets of which `all` and both means differ."""

import re

import numpy as np
import pytest
from close import assert_close
from scipy.stats import spearmanr

from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.evals.vectors import encode_once
from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.columns import ScoredPairs

rng = np.random.default_rng(0)
VECTORS = {name: rng.standard_normal(5).astype(np.float32) for name in map("t{}".format, range(40))}
NAMES = list(VECTORS)


def subset(shift, size):
    """`size` pairs whose scores follow the cosines, with noise, around `shift`."""
    pairs = [rng.choice(40, 2, replace=False) for _ in range(size)]
    scores = [shift + 0.6 * cosine(NAMES[i], NAMES[j]) + rng.normal(0, 0.2) for i, j in pairs]
    return ScoredPairs([NAMES[i] for i, _ in pairs], [NAMES[j] for _, j in pairs], np.clip(np.array(scores), 0, 5))


def cosine(a, b):
    a, b = VECTORS[a].astype(float), VECTORS[b].astype(float)
    return round(a @ b / np.linalg.norm(a) / np.linalg.norm(b), 12)  # the same for (a, b) and (b, a)


def encode(texts):
    assert len(set(texts)) == len(texts)
    return np.array([VECTORS[text] for text in texts])


SUBSETS = {"low": subset(0.8, 9), "high": subset(4.1, 30), "middle": subset(2.5, 14)}


def test_all_is_one_ranking_and_not_the_mean_of_subsets():
    figures = sts(encode, SUBSETS).figures
    cosines = {name: [cosine(*pair) for pair in zip(s.first, s.second, strict=True)] for name, s in SUBSETS.items()}
    each = {name: 100 * spearmanr(cosines[name], s.scores).statistic for name, s in SUBSETS.items()}
    sizes = [9, 30, 14]
    pooled = spearmanr(
        np.concatenate(list(cosines.values())), np.concatenate([s.scores for s in SUBSETS.values()])
    ).statistic
    assert {name: figures[f"sts/subset/{name}"] for name in SUBSETS} == pytest.approx(each, rel=1e-9)
    assert figures["sts/all"] == pytest.approx(100 * pooled, rel=1e-9)
    assert figures["sts/mean"] == pytest.approx(np.mean(list(each.values())), rel=1e-9)
    assert figures["sts/weighted_mean"] == pytest.approx(np.average(list(each.values()), weights=sizes), rel=1e-9)
    assert figures["sts/pairs"] == 53
    three = [figures[f"sts/{name}"] for name in ("all", "mean", "weighted_mean")]
    assert min(abs(a - b) for a, b in zip(three, [*three[1:], three[0]], strict=True)) > 1


def test_alignment_of_pairs_that_say_the_same_and_uniformity_of_distinct_texts(monkeypatch):
    figures = sts(encode, SUBSETS).figures
    pairs = [row for s in SUBSETS.values() for row in zip(*s, strict=True)]
    want = np.mean([2 - 2 * cosine(a, b) for a, b, score in pairs if score >= 4])
    assert figures["sts/alignment"] == pytest.approx(want, rel=1e-5)
    texts = sorted({text for row in pairs for text in row[:2]})
    apart = [np.exp(-2 * (2 - 2 * cosine(a, b))) for a in texts for b in texts if a != b]
    assert figures["sts/uniformity"] == pytest.approx(np.log(np.mean(apart)), rel=1e-5)
    monkeypatch.setattr("jaxgpt.evals.sts.SAMPLE", 20)
    fewer = sts(encode, SUBSETS).figures["sts/uniformity"]
    assert fewer != figures["sts/uniformity"] and fewer == pytest.approx(figures["sts/uniformity"], rel=0.2)
    assert sts(encode, SUBSETS).figures["sts/uniformity"] == fewer


@pytest.mark.parametrize("scale", [0.2, 20.0])
def test_scores_on_another_scale_say_nothing_of_alignment(scale):
    other = {name: s._replace(scores=s.scores * scale) for name, s in SUBSETS.items()}
    figures, known = sts(encode, other).figures, sts(encode, SUBSETS).figures
    assert known.keys() - figures.keys() == {"sts/alignment"} and figures["sts/all"] == known["sts/all"]


def test_vectors_all_alike_have_no_figure():
    figures = sts(lambda texts: np.ones((len(texts), 3), np.float32), SUBSETS).figures
    assert all(np.isnan(figures[f"sts/{name}"]) for name in ("subset/low", "all", "mean", "weighted_mean"))
    assert figures["sts/alignment"] == 0
    assert_close(figures["sts/uniformity"], 0.0, scale=1.0)


def test_a_subset_that_orders_nothing_is_refused():
    with pytest.raises(ConfigError, match="subset 'flat' orders nothing: it has no two different scores"):
        sts(encode, SUBSETS | {"flat": ScoredPairs(["t1", "t2"], ["t3", "t4"], np.array([3.0, 3.0]))})


def test_an_encoder_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"encode: shape \(2, 3\) for 3 texts"):
        encode_once(lambda texts: np.ones((2, 3)), ["a", "b", "a"], ["c"])


def test_a_folder_is_its_files_and_a_file_is_one_subset(tmp_path):
    for name, text in {
        "b.csv": "a,b,1\n",
        "a.tsv": "a\tb\t2\n",
        "c.jsonl": '{"text1": "a", "text2": "b", "score": 3}\n',
        "notes.txt": "no pairs\n",
        "LICENSE": "nor here",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "deeper.csv").mkdir()
    assert {name: s.scores.tolist() for name, s in read_subsets(tmp_path).items()} == {"a": [2], "b": [1], "c": [3]}
    assert list(read_subsets(tmp_path / "b.csv")) == ["b"]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ([], "{folder}: holds no .csv, .jsonl, .parquet, .tsv, STS.input.*.txt, cbtest*.txt file"),
        (["a.csv", "a.tsv"], "{folder}/a.tsv: another file is named 'a' too; rename one"),
    ],
)
def test_a_folder_that_cannot_be_told_apart_is_one_line(tmp_path, names, line):
    for name in names:
        (tmp_path / name).write_text("a,b,1\n".replace(",", "\t" if name.endswith("tsv") else ","))
    with pytest.raises(ConfigError, match=re.escape(line.format(folder=tmp_path))):
        read_subsets(tmp_path)
