"""How vectors order texts: cosines, and the places of relevant documents. NumPy only.

N pairs or documents, Q queries, D vector width.
"""

from collections.abc import Sequence

import numpy as np

BLOCK = 1 << 23
"""Cosines held at a time, 4 bytes each."""
SAME = 1e-6
"""Cosines nearer than this are equal: what float32 leaves of identical vectors."""


def cosine_pairs(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """float64 (N,): row by row; equal rows give exactly 1, a row of zeros 0."""
    a, b = np.asarray(a_ND, np.float64), np.asarray(b_ND, np.float64)
    dot, aa, bb = (np.einsum("nd,nd->n", x, y) for x, y in ((a, b), (a, a), (b, b)))
    size = np.sqrt(aa * bb)  # of equal rows: the root of a square, which is exact
    return np.divide(dot, size, out=np.where(size == 0, 0.0, size), where=size > 0)


def unit_rows(x_ND: np.ndarray) -> np.ndarray:
    """float32 (N, D) of length 1; rows of zeros stay zeros."""
    x = np.asarray(x_ND, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def ranks_of(
    query_QD: np.ndarray, document_ND: np.ndarray, relevant: Sequence[Sequence[int]], block: int = BLOCK
) -> list[np.ndarray]:
    """Finds for each query the ranks, ascending from 1, of its relevant documents among all by cosine; `relevant` has
    their row numbers. What is irrelevant goes first among equals, and before NaN: vectors that are all alike find
    nothing.

    `block` cosines are held at a time. Raises ValueError for a query without a relevant document.
    """
    queries, documents = unit_rows(query_QD), unit_rows(document_ND)
    rows = max(1, block // max(1, len(documents)))
    return [
        _places(cosine_N, np.unique(np.asarray(own, np.int64)))
        for start in range(0, len(queries), rows)
        for cosine_N, own in zip(
            queries[start : start + rows] @ documents.T, relevant[start : start + rows], strict=True
        )
    ]


def recall_at(ranks: Sequence[np.ndarray], k: int) -> np.ndarray:
    """float64 (Q,): the share of a query's relevant documents that stand in the first `k`, 0 to 1."""
    return np.array([(each <= k).mean() for each in ranks])


def mrr(ranks: Sequence[np.ndarray], k: int) -> np.ndarray:
    """float64 (Q,), whose mean is the mean reciprocal rank: 1 / rank of the first relevant document, 0 behind `k`
    (Voorhees 1999, TREC-8)."""
    return np.array([1 / each[0] if each[0] <= k else 0.0 for each in ranks])


def ndcg(ranks: Sequence[np.ndarray], k: int) -> np.ndarray:
    """float64 (Q,): gains of 1, discounted by log2(1 + rank) down to `k`, over the best that can be had, 0 to 1
    (Järvelin & Kekäläinen 2002)."""
    return np.array([_gain(each[each <= k]) / _gain(np.arange(1, min(len(each), k) + 1)) for each in ranks])


def _gain(ranks: np.ndarray) -> float:
    return float((1 / np.log2(1 + ranks)).sum())


def _places(cosine_N: np.ndarray, index: np.ndarray) -> np.ndarray:
    if not len(index):
        raise ValueError("ranks_of: a query has no relevant document; leave it out")
    others, own = np.delete(cosine_N, index), cosine_N[index]
    best_first = np.sort(np.where(np.isnan(own), -np.inf, own))[::-1]
    ahead = [len(others) - np.count_nonzero(others < cosine - SAME) for cosine in best_first]
    return np.arange(1, len(index) + 1) + np.array(ahead, np.int64)
