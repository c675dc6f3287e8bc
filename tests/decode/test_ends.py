"""Where a text ends: at any of several ids, and not before so many tokens; how likely each token was."""

from itertools import chain

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.decode import Sampling, generate
from jaxgpt.decode.generation import scored_stream, until_end
from jaxgpt.decode.rollouts import rollout
from jaxgpt.decode.session import Session
from jaxgpt.models import GPT2

MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=40, context=32)
PROMPTS = ([3, 1, 4, 1, 5], [9, 2])
NEW = 8


@pytest.fixture(scope="module")
def params(weights):
    return weights(MODEL, std=0.3)


@pytest.fixture(scope="module")
def logits_of(params):
    forward = jax.jit(lambda row: MODEL.build().apply({"params": params}, row))

    def last(row):
        padded = np.zeros((1, 32), np.int32)
        padded[0, : len(row)] = row
        return np.asarray(forward(padded)[0, len(row) - 1])

    return last


@pytest.fixture(scope="module")
def ends(params):
    """The third id of each row."""
    return [row[2] for row in generate(MODEL, params, PROMPTS, NEW)]


def plainly(logits_of, prompt, ends, least):
    """Greedy, one forward pass a token."""
    row = [*prompt]
    for index in range(NEW):
        logits = logits_of(row).copy()
        if index < least:
            logits[ends] = -np.inf
        row.append(int(logits.argmax()))
    return until_end(row[len(prompt) :], ends)


def test_a_text_ends_at_the_first_of_several(params, ends):
    free = generate(MODEL, params, PROMPTS, NEW)
    cut = [until_end(row, ends) for row in free]
    assert len({*ends}) == 2 and max(map(len, cut)) <= 2
    assert generate(MODEL, params, PROMPTS, NEW, ends=ends) == cut


@pytest.mark.parametrize("least", [3, 5])
def test_no_text_ends_before_its_least_length(params, logits_of, ends, least):
    want = [plainly(logits_of, prompt, ends, least) for prompt in PROMPTS]
    assert all(len(row) >= least for row in want)
    sampling = Sampling(min_new=least)
    assert generate(MODEL, params, PROMPTS, NEW, sampling, ends=ends) == want
    for prompt, row in zip(PROMPTS, want, strict=True):
        assert [*chain(*Session(MODEL, params, sampling, ends).write(prompt, NEW))] == row


def test_the_least_length_outlives_a_context(params, ends):
    """A row that goes on from its last half context counts on."""
    (row,) = generate(MODEL, params, PROMPTS[:1], 64, Sampling(min_new=60), ends=ends)
    assert len(row) >= 60 and not {*row[:60]} & {*ends}


def test_a_rollout_keeps_to_its_least_length(params, logits_of, ends):
    tokens = np.zeros((2, 16), np.int32)
    for row, ids in zip(tokens, PROMPTS, strict=True):
        row[16 - len(ids) :] = ids
    sampling, lengths = Sampling(min_new=5), np.array([len(ids) for ids in PROMPTS], np.int32)
    key = jax.random.key(0)
    roll = jax.jit(lambda *given: rollout(MODEL.build(), *given, NEW, sampling, eot=ends[0]))
    out = roll(params, tokens, lengths, key)
    want = [plainly(logits_of, prompt, ends[:1], 5) for prompt in PROMPTS]
    assert [until_end(row, ends[:1]) for row in np.asarray(out.tokens_BN).tolist()] == want


def test_log_probs_are_those_of_a_forward_pass(params, logits_of, ends):
    """Of the model itself, whatever the draw; the last is that of the end."""
    sampling = Sampling(temperature=2.0, top_k=20, repetition_penalty=1.3)
    (pieces,) = scored_stream(MODEL, params, PROMPTS, NEW, sampling, 3, ends, every=NEW)
    assert any(piece.ids[-1] in ends for piece in pieces)
    for prompt, piece in zip(PROMPTS, pieces, strict=True):
        rows = [logits_of([*prompt, *piece.ids[:i]]) for i in range(len(piece.ids))]
        want = [row[token] - np.log(np.exp(row).sum()) for row, token in zip(rows, piece.ids, strict=True)]
        assert_close(piece.log_probs, np.array(want))
