"""Frames and pairs of segments: what is read where, that sense alone tells swapped pairs apart, numbers of words."""

import jax
import numpy as np
import pytest

from jaxgpt.objectives.framing import framed, pair

BEFORE, BEHIND = (91,), (92, 93)
B, T = 64, 16
ROOM = T - 5
TOKENS = (np.arange(B)[:, None] * 100 + np.arange(T)[None] + 1000).astype(np.int32)  # tells its row and its place
WORDS = np.broadcast_to(np.arange(T, dtype=np.int32) // 2 + 1, (B, T)).copy()


@pytest.fixture(scope="module")
def made():
    run = jax.jit(lambda key, tokens, words: pair(key, tokens, words, 0.5, BEFORE, BEHIND))
    return jax.tree.map(np.asarray, run(jax.random.key(0), TOKENS, WORDS))


def parts(row):
    """A row's first and second segment."""
    cut = int(np.argmax(row == 92)) - 1
    assert row[0] == 91 and list(row[1 + cut : 3 + cut]) == [92, 93] == list(row[-2:])
    return row[1 : 1 + cut], row[3 + cut : -2]


def test_one_segment_is_framed():
    tokens, words = framed(TOKENS, WORDS, BEFORE, BEHIND)
    want = np.concatenate([np.full((B, 1), 91), TOKENS[:, : T - 3], np.full((B, 1), 92), np.full((B, 1), 93)], 1)
    np.testing.assert_array_equal(tokens, want)
    np.testing.assert_array_equal(words, np.pad(WORDS[:, : T - 3], ((0, 0), (1, 2))))
    for ours, given in zip(framed(TOKENS, WORDS, (), ()), (TOKENS, WORDS), strict=True):
        np.testing.assert_array_equal(ours, given)


def test_both_segments_are_framed_and_the_second_is_of_the_partner(made):
    cuts = set()
    for i, row in enumerate(made.tokens_BT):
        first, second = parts(row)
        cuts.add(len(first))
        assert len(first) >= 1 and len(second) >= 1 and len(first) + len(second) == ROOM
        np.testing.assert_array_equal(first, TOKENS[i, : len(first)])
        np.testing.assert_array_equal(second, TOKENS[made.partner_B[i], len(first) : ROOM])
        assert (made.partner_B[i] == i) != made.swapped_B[i]
        np.testing.assert_array_equal(made.types_BT[i], np.arange(T) >= len(first) + 3)
    assert cuts == set(range(1, ROOM)), "of 64 rows, cut at 10 places"
    assert 20 < made.swapped_B.sum() < 44


def test_words_go_along_and_are_numbered_anew(made):
    frame = (made.tokens_BT < 1000).astype(bool)
    assert not made.words_BT[frame].any()
    for words, row in zip(made.words_BT, made.tokens_BT, strict=True):
        first, second = parts(row)
        for segment, numbers in ((first, words[1 : 1 + len(first)]), (second, words[3 + len(first) : -2])):
            old = WORDS[0][segment % 100]
            np.testing.assert_array_equal(numbers[1:] - numbers[:-1], old[1:] - old[:-1])
        assert words[3 + len(first)] == words[len(first)] + 1, "no word is in both segments"
        assert words.max() <= T


def test_special_tokens_of_the_text_stay_out_of_words():
    words = WORDS.copy()
    words[:, 3] = 0
    made = pair(jax.random.key(1), TOKENS, words, 0.5, BEFORE, BEHIND)
    held = (np.asarray(made.tokens_BT) % 100 == 3) & (np.asarray(made.tokens_BT) >= 1000)
    assert held.sum() > 20 and not np.asarray(made.words_BT)[held].any()


def test_drawn_from_the_key_alone_and_one_row_has_no_partner(made):
    again = pair(jax.random.key(0), TOKENS, WORDS, 0.5, BEFORE, BEHIND)
    jax.tree.map(np.testing.assert_array_equal, again, made)
    other = pair(jax.random.key(2), TOKENS, WORDS, 0.5, BEFORE, BEHIND)
    assert (np.asarray(other.swapped_B) != made.swapped_B).any()
    alone = pair(jax.random.key(0), TOKENS[:1], WORDS[:1], 0.999, BEFORE, BEHIND)
    assert not alone.swapped_B.any() and int(alone.partner_B[0]) == 0
