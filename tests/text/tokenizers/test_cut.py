"""Long texts in parts: the ids of the whole, no word without end to learn from, and Ctrl-C is heard."""

import random
import re
import signal
import threading
import time
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixed_text import mixed_lines

from jaxgpt.text import BPE, ByteBPE, WordPiece
from jaxgpt.text.tokenizers import cut
from jaxgpt.text.tokenizers.interruptible import interruptible, until
from jaxgpt.text.tokenizers.sentencepiece import Kind, Pieces, sentencepiece

HOSTILE = {
    "DNA": "".join(random.Random(0).choices("ACGT", k=30_000)),
    "spaces": " " * 30_000,
    "newlines": "\n" * 30_000,
    "emoji": "👩‍👩‍👧‍👦" * 3000,
    "accents": "e" + "\u0301" * 30_000,
    "minified": "function(a,b){return a+b;}" * 1000,
    "chinese": "我们的项目，很好。" * 3000,
}


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(cut, "PART", 50)
    monkeypatch.setattr(cut, "LONGEST", 400)


def pieces():
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefghijklmnopqrstuvwxyz,.\n"]
    texts += ["th", "the", "▁the", "▁b", "▁of", "an", "▁▁"]
    kinds = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL, *[Kind.BYTE] * 256, *[Kind.NORMAL] * (len(texts) - 259)]
    return Pieces(texts, [-float(rank) for rank in range(len(texts))], [int(kind) for kind in kinds])


CODECS = {
    "byte_bpe": lambda: ByteBPE(vocab_size=400).train(lambda: mixed_lines(200)),
    "bpe": lambda: BPE(vocab_size=300).train(lambda: mixed_lines(200)),
    "wordpiece": lambda: WordPiece(vocab_size=300).train(lambda: mixed_lines(200)),
    "sentencepiece": lambda: sentencepiece(pieces()),
    "sentencepiece, no space in front": lambda: sentencepiece(pieces(), prefix_space=False),
}


@pytest.mark.parametrize("kind", CODECS)
def test_a_text_in_parts_has_the_ids_of_the_whole(kind, short, monkeypatch):
    codec = CODECS[kind]()
    plain = kind.startswith("sentencepiece")  # their whole text is one word to `tokenizers`
    text = " ".join(["the banana of the state, and then"] * 200 if plain else mixed_lines(300, seed=1))
    parts = list(codec.parts(text))
    assert len(parts) > 10 and max(map(len, parts)) <= 400
    in_parts = codec.encode(text)
    monkeypatch.setattr(cut, "PART", 1 << 16)
    monkeypatch.setattr(cut, "LONGEST", 1 << 20)
    assert in_parts == codec.encode(text)
    assert [list(codec.parts(part)) for part in parts] == [[part] for part in parts]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", CODECS)
def test_a_text_without_words_comes_back_from_its_parts(kind, name, short):
    codec = CODECS[kind]()
    text = HOSTILE[name][:3000]
    assert max(map(len, codec.parts(text))) <= 400
    ids = codec.encode(text)
    assert all(0 <= index < codec.vocab_size for index in ids)
    if kind == "byte_bpe":
        assert codec.decode(ids) == text


@given(texts=st.lists(st.text(alphabet="ab 1'.\n\t日,，\u0301", max_size=200), max_size=5))
def test_parts_join_to_the_texts(texts):
    assert "".join(cut.to_learn(texts)) == "".join(texts)
    assert "".join(chain.from_iterable(map(cut.at_most, texts))) == "".join(texts)


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_learned_from_a_run_without_end(name):
    run = re.compile(r"\S+|\s+")
    parts = list(cut.to_learn([f"some words {HOSTILE[name]} and some more"]))
    assert "".join(parts) == f"some words {HOSTILE[name]} and some more"
    assert max(len(found) for part in parts for found in run.findall(part)) <= cut.RUN
    if name in ("minified", "chinese"):
        assert all(re.search(r"\w$", part) and re.match(r"\W", after) for part, after in pairwise(parts))


@pytest.mark.parametrize("kind", [ByteBPE, BPE, WordPiece])
def test_a_cut_at_punctuation_changes_no_vocabulary(kind, monkeypatch):
    text = " ".join(mixed_lines(50)) + HOSTILE["minified"][:9000] + " " + HOSTILE["chinese"][:9000]
    in_parts = kind(vocab_size=400).train(lambda: [text])
    monkeypatch.setattr(cut, "_LONG_RUN", re.compile(r"(?!)"))
    assert in_parts.digest == kind(vocab_size=400).train(lambda: [text]).digest


def test_what_a_call_gives_or_raises_is_passed_on():
    assert interruptible(lambda: np.arange(3).sum()) == 3
    with pytest.raises(KeyError, match="gone"):
        interruptible(lambda: {}["gone"])


def ctrl_c_once(begun: threading.Event) -> None:
    """A moment after the call began: one that comes in the middle of an import may be lost there."""
    main = threading.main_thread().ident

    def send():
        begun.wait()
        time.sleep(0.1)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
def test_ctrl_c_does_not_wait_for_a_deaf_call():
    begun, ended = threading.Event(), threading.Event()

    def deaf():
        begun.set()
        try:
            time.sleep(3)  # without the interpreter's lock, as Rust works; only the main thread hears signals
        finally:
            ended.set()

    ctrl_c_once(begun)
    with pytest.raises(KeyboardInterrupt):
        interruptible(deaf)
    assert not ended.is_set()


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
def test_ctrl_c_ends_learning_and_what_it_reads():
    begun, ended = threading.Event(), threading.Event()

    def texts():
        begun.set()
        try:
            while True:
                yield "some words "
        finally:
            ended.set()

    ctrl_c_once(begun)
    with pytest.raises(KeyboardInterrupt):
        ByteBPE(vocab_size=300).train(texts)
    assert ended.wait(10)


def test_items_come_until_it_is_stopped():
    stopped = threading.Event()
    items = until(stopped, "abc")
    assert next(items) == "a"
    stopped.set()
    with pytest.raises(KeyboardInterrupt):
        next(items)
