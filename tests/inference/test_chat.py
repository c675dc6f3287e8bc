"""Dialogue: history as ids in every form, what is dropped, streams, and answers picked by a reverse model."""

import io
import sys

import pytest

from jaxgpt.decode import Sampling
from jaxgpt.inference.chat import Chat, conversation_ids, fitted, form_for
from jaxgpt.inference.loaded import Loaded
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2
from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.byte import ByteCodec

MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=257, context=96)
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}<bot>{% endif %}"
GREEDY = Sampling()


@pytest.fixture(scope="module")
def m(weights):
    return Loaded(MODEL, MODEL, weights(MODEL, std=0.3), ByteCodec(), chat_templates={"default": TEMPLATE})


@pytest.fixture(scope="module")
def plain(weights):
    return Loaded(MODEL, MODEL, weights(MODEL, std=0.3), ByteCodec())


def turns(*texts):
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def test_forms(m, plain):
    pytest.importorskip("jinja2")
    decode, history = m.tokenizer.decode, turns("Hi", "Hello", "Who?")
    assert decode(conversation_ids(m, history, "template")) == "<user>Hi\n<assistant>Hello\n<user>Who?\n<bot>"
    assert decode(conversation_ids(m, history, "plain")) == "User: Hi\nAssistant: Hello\nUser: Who?\nAssistant:"
    end = m.tokenizer.eot
    ids = [m.tokenizer.encode(turn["content"]) for turn in history]
    assert conversation_ids(m, history, "dialogpt") == [*ids[0], end, *ids[1], end, *ids[2], end]
    assert (form_for(m, None), form_for(plain, None)) == ("template", "plain")
    for form, message in (
        ("template", "has no chat template"),
        ("chitchat", "needs a vocabulary with"),
        ("x", "one of"),
    ):
        with pytest.raises(ConfigError, match=message):
            form_for(plain, form)


def test_whole_oldest_turns_are_dropped_and_the_system_turn_stays(plain):
    system = {"role": "system", "content": "Be brief."}
    history = [system, *turns("a" * 10, "b" * 10, "c" * 10, "d" * 10, "e" * 10)]
    lengths = {}
    for room in range(45, 130):
        row, dropped = fitted(plain, history, "plain", room)
        text = plain.tokenizer.decode(row)
        assert len(row) <= room and dropped in (0, 2, 4) and text.startswith("Be brief.\nUser: ")
        assert text.endswith("User: eeeeeeeeee\nAssistant:") and ("a" * 10 in text) is (dropped == 0)
        lengths[dropped] = len(row)
    assert sorted(lengths) == [0, 2, 4] and lengths[0] > lengths[2] > lengths[4]
    with pytest.raises(ConfigError, match="tokens with what belongs around it, and 20 fit in front of an answer"):
        fitted(plain, history, "plain", 20)


def test_a_message_spells_no_special_token_and_an_answer_may(m):
    pytest.importorskip("jinja2")
    _, (end, *_) = m.reader
    with pytest.raises(ConfigError, match="a special token, which would end the turn; spell it otherwise"):
        conversation_ids(m, turns(f"Hi{end}"), "template")
    assert conversation_ids(m, turns("Hi", f"Hello{end}", "Who?"), "template").count(m.tokenizer.eot) == 1


def test_an_answer_is_what_is_generated_after_the_history(plain):
    talk = Chat(plain, form="plain", max_new=8, sampling=GREEDY)
    for text in ("Hi", "Who?"):
        (want,) = plain.generate(
            [plain.tokenizer.decode(conversation_ids(plain, [*talk.messages, *turns(text)], "plain"))], 8
        )
        pieces = [*talk.say(text)]
        assert "".join(pieces) == want.rstrip("\ufffd").split("\nUser:")[0]
    assert [message["role"] for message in talk.messages] == ["user", "assistant"] * 2
    assert plain.chat(turns("Hi"), 8, form="plain") == talk.messages[1]["content"]


@pytest.mark.slow
def test_a_reverse_model_picks_the_answer(plain, weights):
    reverse = Loaded(MODEL, MODEL, weights(MODEL, std=0.2), ByteCodec())
    sampling = Sampling(temperature=1.0)
    talk = Chat(plain, form="dialogpt", max_new=6, sampling=sampling, mmi=reverse, candidates=4)
    (answer,) = talk.say("Hi")
    row = conversation_ids(plain, turns("Hi"), "dialogpt")
    drawn = plain.write([row] * 4, 6, sampling, 0)
    assert answer in drawn
    ids, end = reverse.tokenizer.encode, reverse.tokenizer.eot
    from jaxgpt.evals.pairs import Pair

    worth = {
        text: reverse.score_pairs([Pair([*ids(text), end], [*ids("Hi"), end])], quiet=True)[0].log_prob
        for text in drawn
    }
    assert worth[answer] == max(worth.values())


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("Hi", "messages: 'Hi'; expected a list such as"),
        (turns("a", "b"), "the last is of role 'assistant'; expected a user's turn"),
        ([{"role": "user", "content": 3}], "messages: 0 is"),
    ],
)
def test_what_is_no_conversation(plain, messages, message):
    with pytest.raises(ConfigError, match=message):
        plain.chat(messages, 8)


def test_the_verb_talks_line_by_line(plain, tmp_path, jaxgpt_, monkeypatch):
    write_folder(tmp_path / "m", plain.model, plain.params, plain.tokenizer)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n\nWho?\n"))
    status, out, err = jaxgpt_("chat", tmp_path / "m", "--max-new", "6", "--temperature", "0", "--form", "plain")
    talk = Chat(plain, form="plain", max_new=6, sampling=Sampling(top_p=0.9))
    want = "".join("".join(talk.say(text)) + "\n" for text in ("Hi", "Who?"))
    assert (status, out, err) == (0, want, [])
    status, _, err = jaxgpt_("chat", tmp_path / "m", "--form", "poem")
    assert status == 2 and err == ["error: form: 'poem'; expected one of template, dialogpt, chitchat, plain"]
