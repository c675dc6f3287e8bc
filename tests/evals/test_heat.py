"""The pairs of a heat map and their cosines, and that remembering asks for a text once."""

import json

import numpy as np
from close import assert_close

from jaxgpt.disk import strict
from jaxgpt.evals.heat import Heat, heat
from jaxgpt.evals.vectors import remembering
from jaxgpt.text.corpora.columns import ScoredPairs

rng = np.random.default_rng(0)
VECTORS = {f"t{i}": rng.standard_normal(4).astype(np.float32) for i in range(60)}


def encode(texts):
    return np.stack([VECTORS[text] for text in texts])


def subset(scores, start, second=None):
    first = [f"t{start + 2 * i}" for i in range(len(scores))]
    return ScoredPairs(first, second or [f"t{start + 2 * i + 1}" for i in range(len(scores))], np.array(scores, float))


def test_pairs_spread_over_the_ranking_and_every_cosine_is_of_its_texts():
    subsets = {"a": subset([2, 5, 0], 0), "b": subset([1, 3, 4], 6)}
    found = heat(encode, subsets, pairs=3)
    assert list(found.scores) == [5, 3, 0]
    assert (found.first[0], found.second[0], found.first[-1], found.second[-1]) == ("t2", "t3", "t4", "t5")
    first, second = (np.array([VECTORS[text] for text in side], float) for side in (found.first, found.second))
    lengths = np.outer(np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1))
    assert_close(found.cosines, first @ second.T / lengths, 1e-6)


def test_no_text_twice_unless_all_are():
    shared = subset([5, 4, 3, 2], 0, second=["t1", "t1", "t5", "t6"])  # t1 twice; t6 is the first text of the last
    found = heat(encode, {"a": shared})
    assert list(found.scores) == [5, 3]
    same = ScoredPairs(["t0", "t1"], ["t0", "t1"], np.array([1.0, 2.0]))
    assert heat(encode, {"a": same}).scores.size == 2


def test_a_file_holds_it_and_what_is_not_finite():
    found = heat(encode, {"a": subset([2, 5, 0], 0)})
    found.cosines[0, 1] = np.nan
    again = Heat.of_json(json.loads(json.dumps(strict(found.as_json())[0])))
    assert again.first == found.first and again.second == found.second
    np.testing.assert_array_equal(again.scores, found.scores)
    assert_close(again.cosines, found.cosines, 5.1e-5, scale=1.0)  # four decimals are written


def test_remembering():
    asked = []

    def counted(texts):
        asked.extend(texts)
        return encode(texts)

    recall = remembering(counted)
    np.testing.assert_array_equal(recall(["t1", "t2"]), encode(["t1", "t2"]))
    np.testing.assert_array_equal(recall(["t2", "t3", "t1"]), encode(["t2", "t3", "t1"]))
    assert asked == ["t1", "t2", "t3"]
