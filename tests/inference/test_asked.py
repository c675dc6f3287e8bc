"""Questions of tasks to a real model: each once, never again after a kill, whatever the batch."""

import json

import pytest
from close import assert_close

from jaxgpt.decode import BeamSearch
from jaxgpt.evals.model import Writing
from jaxgpt.evals.pairs import Pair, encode_pairs
from jaxgpt.inference.asked import Asked
from jaxgpt.inference.loaded import Loaded
from jaxgpt.inference.remembered import Remembered, key
from jaxgpt.models import GPT2
from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.byte import ByteCodec

MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=257, context=24)
PROMPTS = ["Once", "a", "There was a", "Once", "who"]


@pytest.fixture(scope="module")
def m(weights):
    return Loaded(MODEL, MODEL, weights(MODEL, std=0.3), ByteCodec())


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXGPT_CACHE", str(tmp_path))
    return tmp_path


def test_what_was_answered_is_not_asked_again(m, cache, monkeypatch):
    pairs = encode_pairs(m.tokenizer, PROMPTS, [" upon", "b", " dog", " upon", "?"])
    want = m.score_pairs(pairs, quiet=True)
    Asked(m, quiet=True, memory=Remembered(m.digest)).score(pairs[:3])

    asked = []
    real = Loaded.score_pairs
    monkeypatch.setattr(Loaded, "score_pairs", lambda self, own, *rest: asked.extend(own) or real(self, own, *rest))
    found = Asked(m, quiet=True, memory=Remembered(m.digest)).score(pairs)
    assert asked == pairs[4:]  # the fourth is the first again
    assert_close([each.log_prob for each in found], [each.log_prob for each in want])
    assert [each.greedy for each in found] == [each.greedy for each in want]


def test_a_kill_costs_what_was_not_yet_written(m, cache, monkeypatch):
    """After the second of three batches; its last line is cut."""
    pairs = [Pair([i], [i + 1]) for i in range(6)]
    real = Remembered.add

    def add(self, answers):
        real(self, answers)
        if len(self) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Remembered, "add", add)
    with pytest.raises(KeyboardInterrupt):
        Asked(m, 2, quiet=True, memory=Remembered(m.digest)).score(pairs)
    monkeypatch.setattr(Remembered, "add", real)
    memory = Remembered(m.digest)
    memory.path.write_bytes(memory.path.read_bytes()[:-3])
    assert len(Remembered(m.digest)) == 3
    found = Asked(m, 2, quiet=True, memory=Remembered(m.digest)).score(pairs)
    assert_close([each.log_prob for each in found], [each.log_prob for each in m.score_pairs(pairs, quiet=True)])
    assert len(Remembered(m.digest)) == 6


def test_answers_belong_to_their_weights(m, weights, cache):
    other = Loaded(MODEL, MODEL, weights(MODEL, std=0.2), ByteCodec())
    assert m.digest == Loaded(MODEL, MODEL, m.params, ByteCodec()).digest != other.digest
    Remembered(m.digest).add([(key("a"), 1)])
    assert not Remembered(other.digest) and dict(Remembered(m.digest)) == {key("a"): 1}


def test_texts_do_not_depend_on_their_batch(m):
    for writing in (Writing(max_new=6), Writing(max_new=6, beams=BeamSearch(width=2))):
        together = Asked(m, 4, quiet=True).write(PROMPTS, writing)
        assert together == [Asked(m, 1, quiet=True).write([prompt], writing)[0] for prompt in PROMPTS]
    assert together[0] == together[3]


def test_words_that_are_suppressed_are_never_written(m):
    plain = "".join(Asked(m, quiet=True).write(PROMPTS, Writing(max_new=8)))
    signs = tuple({sign.lower() for sign in plain if sign.strip() and sign.isascii()})
    without = "".join(Asked(m, quiet=True).write(PROMPTS, Writing(max_new=8, suppress=signs)))
    assert signs and without and not {*without.lower()} & {*signs}


def test_a_stop_is_looked_for_in_the_text_not_in_tokens(m):
    """Of bytes every stop of two letters lies across tokens; it ends writing early."""
    (text,) = Asked(m, quiet=True).write(["Once"], Writing(max_new=12))
    stop = text[4:6]
    (cut,) = Asked(m, quiet=True).write(["Once"], Writing(max_new=12, stop=(stop,)))
    assert cut == text[: text.index(stop)]


def test_what_cannot_be_written(m):
    with pytest.raises(ConfigError, match="max_new: 24 leaves no room for a prompt in 24 tokens"):
        Asked(m, quiet=True).write(["a"], Writing(max_new=24))
    with pytest.raises(ConfigError, match="prompt: '' has no token"):
        Asked(m, quiet=True).write([""], Writing(max_new=2))


def test_a_cache_that_is_not_a_cache_is_read_over(cache, m):
    memory = Remembered(m.digest)
    memory.path.parent.mkdir(parents=True)
    memory.path.write_bytes(b'\xff\n[1]\n{"a": 1}\n["x", 2]\n')
    assert dict(Remembered(m.digest)) == {"x": 2}
    assert json.loads(memory.path.read_bytes().splitlines()[-1]) == ["x", 2]
