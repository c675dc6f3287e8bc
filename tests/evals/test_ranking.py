"""Cosines, places of documents against a plain sort, and what ties and NaN do."""

import numpy as np
import pytest
from close import assert_close

from jaxgpt.evals.ranking import cosine_pairs, mrr, ndcg, ranks_of, recall_at

rng = np.random.default_rng(0)
QUERIES, DOCUMENTS = (rng.standard_normal((n, 6)).astype(np.float32) for n in (7, 40))
RELEVANT = [rng.choice(40, n, replace=False).tolist() for n in (1, 2, 3, 1, 5, 1, 2)]


def places(*rows):
    return [np.array(row) for row in rows]


def test_cosines_of_equal_rows_are_all_exactly_one():
    a = rng.standard_normal((1000, 33)).astype(np.float32)
    assert (cosine_pairs(a, a) == 1).all() and (cosine_pairs(a, -a) == -1).all()
    a, b = rng.standard_normal((2, 1000, 33))
    want = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert_close(cosine_pairs(a, 7 * b), want, 1e-12)


def test_cosine_of_zeros_is_zero_and_of_nan_nan():
    a = np.array([[0, 0], [np.nan, 1], [3, 4]], np.float32)
    np.testing.assert_array_equal(cosine_pairs(a, np.array([[1, 0], [1, 0], [0, 1]])), [0, np.nan, 0.8])


@pytest.mark.parametrize("block", [1, 120, 1 << 20])
def test_ranks_are_those_of_a_plain_sort_in_blocks_of_any_size(block):
    got = ranks_of(3 * QUERIES, DOCUMENTS, RELEVANT, block)
    for query, relevant, ranks in zip(QUERIES, RELEVANT, got, strict=True):
        order = np.argsort(-cosine_pairs(np.tile(query, (40, 1)), DOCUMENTS)).tolist()
        assert ranks.tolist() == sorted(order.index(one) + 1 for one in relevant)


def test_vectors_that_are_all_alike_find_nothing():
    vector = rng.standard_normal((1, 100)).astype(np.float32)
    (ranks,) = ranks_of(vector, np.tile(vector, (50, 1)), [[0, 3]])
    assert ranks.tolist() == [49, 50]


def test_nan_never_helps():
    query, relevant, spoiled = QUERIES[:1], [[3, 20]], DOCUMENTS.copy()
    spoiled[20] = np.nan
    (alone,) = ranks_of(query, np.delete(DOCUMENTS, 20, 0), [[3]])
    assert ranks_of(query, spoiled, relevant)[0].tolist() == [alone[0], 40]
    spoiled = np.full_like(DOCUMENTS, np.nan)
    spoiled[relevant[0]] = DOCUMENTS[relevant[0]]
    assert ranks_of(query, spoiled, relevant)[0].tolist() == [39, 40]


def test_a_query_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="no relevant document"):
        ranks_of(QUERIES[:2], DOCUMENTS, [[1], []])


def test_the_measures_on_paper():
    ranks = places([1, 4], [3], [12])
    assert recall_at(ranks, 1).mean() == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert recall_at(ranks, 5).mean() == pytest.approx((1 + 1 + 0) / 3)
    assert mrr(ranks, 10).mean() == pytest.approx((1 + 1 / 3 + 0) / 3)
    gains = [(1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3)), 1 / np.log2(4), 0]
    assert ndcg(ranks, 10).mean() == pytest.approx(sum(gains) / 3)
    assert ndcg(places(range(1, 21)), 10).mean() == pytest.approx(1)  # more answers than places
