"""Free answers: metrics against their definitions and libraries, what is written and how."""

import json

import pytest

from jaxgpt.evals.tasks import Generate
from jaxgpt.evals.tasks.text_metrics import bleu, exact, f1, normal, rouge
from jaxgpt.spec import ConfigError

ROWS = [
    {"question": "Who?", "answers": ["The Cat", "a dog"]},
    {"question": "Where?", "answers": "in Paris, France"},
]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return str(tmp_path / "rows.jsonl")


def test_answers_are_compared_as_squad_does():
    assert normal("The  cat, (a) CAT!") == "cat cat"
    assert exact("cat", "The cat.") == 1 and exact("cats", "cat") == 0
    assert f1("in Paris", "Paris, France") == pytest.approx(0.5)
    assert f1("", "") == 1 and f1("", "a word") == 0


def test_the_nearest_answer_counts(path, stub):
    model = stub(says=lambda prompt: " Dog" if prompt.startswith("Q: Who") else " Paris")
    measured = Generate(path=path, prompt="Q: {question}\\nA:").opened()(model)
    assert measured.figures["generate/exact_match"] == 0.5
    assert measured.figures["generate/f1"] == pytest.approx((1 + 2 * 1 / 4) / 2)
    assert model.asked == ["Q: Who?\nA:", "Q: Where?\nA:"]
    assert [row["written"] for row in measured.rows] == ["Dog", "Paris"] and model.writings[0].stop == ("\n",)


def test_sentences_that_count(path, stub):
    model = stub(says=lambda prompt: ' One. "Two!" Three? Four.')
    rows = Generate(path=path, sentences=2).opened()(model).rows
    assert rows[0]["written"] == 'One. "Two!'


def test_beams_and_sampling_reach_the_model(path, stub):
    model = stub(says=lambda prompt: "x")
    Generate(path=path, beams={"width": 4, "penalty": "gnmt", "alpha": 0.6}).opened()(model)
    Generate(path=path, sampling={"temperature": 1.0, "top_k": 2}, seed=3).opened()(model)
    first, second = model.writings
    assert first.beams.width == 4 and second.sampling.top_k == 2 and second.seed == 3


TEXTS = ["the cat sat on the mat", "it is a guide to action which ensures that", "nothing here"]
RIGHT = [["the cat is on the mat", "there is a cat on the mat"], ["it is a guide to action that ensures that"], ["all"]]


def test_bleu_is_sacrebleus_and_adds_up():
    sacrebleu = pytest.importorskip("sacrebleu")
    import numpy as np

    want = sacrebleu.corpus_bleu(TEXTS, [[right[0] for right in RIGHT], [right[-1] for right in RIGHT]]).score
    weigh = bleu(TEXTS, RIGHT)
    assert weigh(np.ones((1, 3)))[0, 0] == pytest.approx(want)
    twice = sacrebleu.corpus_bleu([TEXTS[0]] * 2, [[RIGHT[0][0]] * 2, [RIGHT[0][1]] * 2]).score
    assert weigh(np.array([[2.0, 0, 0]]))[0, 0] == pytest.approx(twice)


def test_rouge_is_rouge_scores():
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    import numpy as np

    of = scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    want = np.mean(
        [[100 * s.fmeasure for s in of.score_multi(r, t).values()] for t, r in zip(TEXTS, RIGHT, strict=True)], 0
    )
    figures = rouge(TEXTS, RIGHT)(np.ones((1, 3)))[0]
    assert figures == pytest.approx([*want, want.mean()])


def test_a_library_that_is_missing_is_named_before_anything_is_written(path, stub, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    model = stub(says=lambda prompt: "x")
    with pytest.raises(ConfigError, match=r"rouge needs rouge-score, which is not there; pip install 'jaxgpt\[eval\]'"):
        Generate(path=path, metrics=("rouge",)).opened()(model)
    assert model.asked == []
