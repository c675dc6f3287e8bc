"""Demonstrations: a function of seed and item, never the item itself, as many as fit."""

import json

import pytest

from jaxgpt.evals.tasks import Choice, Classify
from jaxgpt.evals.tasks.shots import draw, fitting, joined
from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.byte import ByteCodec

POOL = [f"item {i}" for i in range(40)]


def test_a_draw_depends_on_the_seed_and_the_item_alone():
    of_3 = draw(5, POOL, "item 3", 0)
    assert of_3 == draw(5, POOL, "item 3", 0) != draw(5, POOL, "item 3", 1) != draw(5, POOL, "item 4", 1)
    assert draw(3, POOL, "item 3", 0) == of_3[:3]
    assert of_3 == [32, 18, 19, 9, 4]  # the same on every machine


def test_an_item_is_never_among_its_own_demonstrations():
    pool = ["same"] * 5 + ["other", "third"]
    for seed in range(20):
        assert {pool[i] for i in draw(2, pool, "same", seed)} == {"other", "third"}
        assert len({*draw(40, POOL, "item 7", seed)}) == 39 and 7 not in draw(40, POOL, "item 7", seed)


def test_every_demonstration_is_drawn_as_often():
    counts = [0] * 40
    for item in range(400):
        for place in draw(4, POOL, f"question {item}", 0):
            counts[place] += 1
    assert min(counts) > 15 and max(counts) < 75  # 40 expected


@pytest.mark.parametrize("room", [10, 25, 26, 60, 1000])
def test_as_many_as_fit_and_no_more(room):
    codec, texts = ByteCodec(), ["a" * 10, "b" * 3, "c" * 8]
    count = fitting(codec, texts, "\n\n", "question?", room)
    length = lambda n: len(joined(texts[3 - n :], "\n\n", "question?"))  # noqa: E731
    assert length(count) <= room or count == 0
    assert count == 3 or length(count + 1) > room


@pytest.fixture
def riddles(tmp_path):
    rows = [{"query": f"What is {i}?", "choices": [f"a{i}", f"b{i}", "c"], "gold": i % 3} for i in range(12)]
    (tmp_path / "riddles.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(tmp_path / "riddles.jsonl")


def test_a_prompt_shows_other_items_with_their_answers(riddles, stub):
    model = stub(worth=lambda context, continuation: 0.0)
    measured = Choice(path=riddles, shots=2, limit=4, between="\n").opened()(model)
    for number, row in enumerate(measured.rows):
        *shown, question = row["prompt"].split("\n")
        assert question == f"What is {number}?" and len(shown) == 2 and len({*shown}) == 2
        for text in shown:
            other = int(text.split("?")[0].removeprefix("What is "))
            assert other != number and text.endswith(
                ("a", "b", "c")[other % 3] + ("" if other % 3 == 2 else str(other))
            )


def test_another_limit_or_another_item_changes_no_demonstration(riddles, stub):
    ask = lambda **fields: Choice(path=riddles, shots=2, **fields).opened()(stub(worth=lambda *_: 0.0))  # noqa: E731
    few, all_ = ask(limit=3), ask()
    assert [row["prompt"] for row in few.rows] == [row["prompt"] for row in all_.rows[:3]]
    assert ask(seed=1).rows[0]["prompt"] != few.rows[0]["prompt"]


def test_what_a_short_context_cuts_is_said(riddles, stub, capsys):
    measured = Choice(path=riddles, shots=8).opened()(stub(worth=lambda *_: 0.0, room=60))
    mean = measured.figures["choice/shots"]
    assert 0 < mean < 8 and all(len(row["prompt"]) <= 60 for row in measured.rows)
    assert "12 of 12 items have fewer than 8, as many as fit" in capsys.readouterr().err


def test_a_set_without_another_item_has_nothing_to_show(tmp_path):
    (tmp_path / "one.tsv").write_text("good\tyes\n")
    task = Classify(path=str(tmp_path / "one.tsv"), prompt="{1}", label="2", labels=("yes", "no"), shots=1)
    with pytest.raises(ConfigError, match="no other item to show; give another shots_path"):
        task.opened()
