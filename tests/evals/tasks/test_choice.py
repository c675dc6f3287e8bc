"""Choosing: what each scoring prefers, on a model whose likelihoods are known."""

import json
import math

import pytest

from jaxgpt.evals.tasks import Choice, Classify
from jaxgpt.spec import ConfigError


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture
def pairs(tmp_path):
    """One right answer that is short, one that is long."""
    rows = [
        {"query": "long", "choices": ["ab", "abcdefgh"], "gold": 1},
        {"query": "short", "choices": ["ab", "abcdefgh"], "gold": "ab"},
    ]
    return write(tmp_path / "pairs.jsonl", rows)


def test_a_number_is_a_place_and_a_text_a_candidate(tmp_path, stub):
    """Where candidates are numbers, both could be meant."""
    rows = [{"query": "1 + 1 =", "choices": ["1", "2", "0"], "gold": gold} for gold in (1, "1", "2", "x")]
    path = write(tmp_path / "sums.jsonl", rows[:3])
    measured = Choice(path=path).opened()(stub(worth=lambda *_: 0.0))
    assert [row["label"] for row in measured.rows] == [1, 0, 1]
    with pytest.raises(ConfigError, match="gold 'x'; expected a candidate, or its place"):
        Choice(path=write(tmp_path / "x.jsonl", rows)).opened()


def test_sums_prefer_short_candidates_and_means_do_not(pairs, stub):
    """-3 for the short and -6 for the long: each byte of the long one, and of its letters, is likelier."""
    model = stub(worth=lambda context, continuation: -3 if len(continuation) < 5 else -6)
    figures = Choice(path=pairs).opened()(model).figures
    assert figures["choice/accuracy/sum"] == 0.5 and figures["choice/accuracy/per_token"] == 0.5
    rows = Choice(path=pairs).opened()(model).rows
    by_token = Choice(path=pairs, scorings=("per_token",)).opened()(model).rows
    assert [row["predicted"] for row in rows] == [0, 0] and [row["predicted"] for row in by_token] == [1, 1]
    assert rows[0]["log_probs"] == [-3, -6] and rows[0]["label"] == 1


def test_the_ratio_does_not_see_what_a_candidate_is_worth_by_itself(pairs, stub):
    """GPT-3's P(c | context) / P(c | answer context): a constant for each candidate drops out, and of a model that
    never looks at the context all candidates tie."""
    prior = {" ab": -1.0, " abcdefgh": -9.0}

    def worth(context, continuation):
        return prior[continuation] + (0.5 if (context == "long") == (continuation == " abcdefgh") else 0) * (
            context != "Answer:"
        )

    ratio = Choice(path=pairs, scorings=("answer_context", "sum"))
    figures = ratio.opened()(stub(worth=worth)).figures
    assert figures["choice/accuracy/answer_context"] == 1.0 and figures["choice/accuracy/sum"] == 0.5
    blind = stub(worth=lambda context, continuation: prior[continuation])
    assert [row["predicted"] for row in ratio.opened()(blind).rows] == [0, 0]
    assert ("Answer:", " ab") in blind.asked


def test_the_rest_of_the_sentence_is_scored_with_the_candidate(tmp_path, stub):
    """The Children's Book Test as it is published."""
    block = [f"{i} Sentence {i} ." for i in range(1, 21)] + ["21 The XXXXX was happy .\tdog\t\tdog|cat|hat"]
    (tmp_path / "cbtest_NE_valid.txt").write_text("\n".join([*block, "", *block, ""]))
    task = Choice(path=str(tmp_path / "cbtest_NE_valid.txt"), rest="{rest}", detokenizer="lm1b", scorings=("sum",))
    model = stub(worth=lambda context, continuation: 0.0 if "dog" in continuation else -5.0)
    measured = task.opened()(model)
    assert measured.figures == {"choice/accuracy/sum": 1.0, "choice/items": 2}
    context, continuation = model.asked[1]
    assert (
        continuation == " cat was happy." and context.startswith("Sentence 1. Sentence 2.") and context.endswith("The")
    )


def test_labels_go_by_their_words(tmp_path, stub):
    (tmp_path / "rows.tsv").write_text("fine film\t1\nawful film\t0\nfilm\t1\n")
    task = Classify(path=str(tmp_path / "rows.tsv"), prompt="{1} is", label="2", words=("bad", "good"))
    model = stub(worth=lambda context, continuation: -1 if ("fine" in context) == ("good" in continuation) else -2)
    measured = task.opened()(model)
    assert [row["predicted"] for row in measured.rows] == [1, 0, 0]
    assert measured.figures["classify/accuracy/sum"] == pytest.approx(2 / 3)
    assert model.asked[0] == ("fine film is", " bad")


def test_a_chance_model_is_right_as_often_as_chance(tmp_path, stub):
    import random

    rows = [{"query": f"q{i}", "choices": [f"{i}w", f"{i}x", f"{i}y", f"{i}z"], "gold": i % 4} for i in range(400)]
    model = stub(worth=lambda context, continuation: -random.Random(context + continuation).random())
    measured = Choice(path=write(tmp_path / "r.jsonl", rows)).opened()(model)
    low, high = measured.intervals()["choice/accuracy/sum"]
    assert low < 0.25 < high and high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 * 0.75 / 400), rel=0.2)


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        ({"query": "a", "choices": ["b"], "gold": 0}, {}, "1 candidates; expected two or more"),
        (
            {"query": "a", "choices": ["b", "c"], "gold": 2},
            {},
            "gold '2'; expected a candidate, or its place from 0 to 1",
        ),
        ({"query": "a", "choices": ["b", "c"]}, {}, "name the one to use as gold"),
        ({"query": "a", "choices": "b", "gold": 0}, {}, "1 candidates"),
        (
            {"query": "a", "choices": ["b", "c"], "gold": 0},
            {"prompt": "{quary}"},
            "no field 'quary'; did you mean 'query'",
        ),
        ({"query": "a", "choices": ["b", "c"], "gold": 0}, {"prompt": "{}"}, "without the name of a field"),
        ({"query": "", "choices": ["b", "c"], "gold": 0}, {}, "column 'query' is empty"),
    ],
)
def test_a_bad_row_is_one_line_before_any_model(tmp_path, row, fields, message):
    with pytest.raises(ConfigError, match=message) as error:
        Choice(path=write(tmp_path / "r.jsonl", [row]), **fields).opened()
    assert len(error.value.problems) == 1


def test_words_that_do_not_fit_the_labels(tmp_path):
    (tmp_path / "rows.tsv").write_text("a\t1\nb\t0\n")
    fields = {"path": str(tmp_path / "rows.tsv"), "prompt": "{1}", "label": "2"}
    for words in (("good",), ("good", "good")):
        with pytest.raises(ConfigError, match="expected a word for each, all different"):
            Classify(**fields, words=words).opened()
    with pytest.raises(ConfigError, match="label '0' is none of 1, 2"):
        Classify(**fields, labels=("1", "2")).opened()
