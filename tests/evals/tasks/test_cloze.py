"""LAMBADA's three protocols: what is read and what is asked in each."""

import json

import numpy as np
import pytest

from jaxgpt.evals.tasks import Cloze
from jaxgpt.evals.tasks.cloze import first_word, stop_words
from jaxgpt.spec import ConfigError

ROWS = [
    {"context": "I do not care about", "continuation": "signs"},
    {"context": "On my own, he said to ", "continuation": "Shane"},
    {"context": "The end of the", "continuation": "day"},
]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return str(tmp_path / "rows.jsonl")


def test_the_whole_word_is_scored_or_its_last_token(path, stub):
    """Of bytes a word has many tokens."""
    model = stub(worth=lambda context, continuation: -0.5 if context.endswith("about") else -2.0)
    measured = Cloze(path=path).opened()(model)
    assert model.asked == [
        ("I do not care about", " signs"),
        ("On my own, he said to", " Shane"),
        ("The end of the", " day"),
    ]
    assert measured.figures["cloze/accuracy"] == pytest.approx(1 / 3)
    assert measured.figures["cloze/perplexity"] == pytest.approx(np.exp(4.5 / 3))

    model = stub(worth=lambda context, continuation: -0.5 if continuation == "e" else -3.0)
    measured = Cloze(path=path, protocol="last_token").opened()(model)
    assert model.asked == [
        ("I do not care about sign", "s"),
        ("On my own, he said to Shan", "e"),
        ("The end of the da", "y"),
    ]
    assert measured.figures["cloze/accuracy"] == pytest.approx(1 / 3)


def test_the_filter_writes_three_tokens_and_compares_the_first_word(path, stub):
    model = stub(says=lambda prompt: ' Signs," it' if "care" in prompt else " Shan")
    measured = Cloze(path=path, protocol="stop_filter").opened()(model)
    (writing,) = model.writings
    assert writing.max_new == 3 and {"the", "just", "yourselves"} <= {*writing.suppress}
    assert [row["right"] for row in measured.rows] == [True, False, False]
    assert measured.figures == {"cloze/accuracy": pytest.approx(1 / 3), "cloze/items": 3}


def test_the_stop_words_are_nltks():
    words = stop_words()
    assert len(words) == len({*words}) == 127 and words[0] == "i" and words[-1] == "now"
    assert first_word("  “Signs!” he") == "signs" and first_word(" ") == ""


def test_context_and_word_may_lie_in_one_field(tmp_path, stub):
    (tmp_path / "whole.jsonl").write_text(json.dumps({"text": "He said to Shane"}) + "\n")
    model = stub(worth=lambda context, continuation: 0.0)
    Cloze(path=str(tmp_path / "whole.jsonl")).opened()(model)
    assert model.asked == [("He said to", " Shane")]
    (tmp_path / "whole.jsonl").write_text(json.dumps({"text": "Shane"}) + "\n")
    with pytest.raises(ConfigError, match=r"whole.jsonl:1: has a single word"):
        Cloze(path=str(tmp_path / "whole.jsonl")).opened()


def test_gpt3s_blank(path, stub):
    model = stub(worth=lambda context, continuation: 0.0)
    Cloze(path=path, prompt="{context} ____. →", shots=1, between="\\n", limit=1).opened()(model)
    ((context, continuation),) = model.asked
    shown, question = context.split("\n")
    assert question == "I do not care about ____. →" and continuation == " signs"
    assert shown in {"On my own, he said to  ____. → Shane", "The end of the ____. → day"}
