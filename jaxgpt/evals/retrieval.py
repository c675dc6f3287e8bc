"""Retrieval: does a query's vector find the documents that answer it, among all?"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgpt.evals.measured import Measured, means
from jaxgpt.evals.ranking import mrr, ndcg, ranks_of, recall_at
from jaxgpt.evals.vectors import Encode, encode_once
from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.columns import find_names, read_columns

NAMED = (
    ("query", "document"),
    ("query", "document", "negative"),
    ("anchor", "positive"),
    ("anchor", "positive", "negative"),
    ("sent0", "sent1"),
    ("sent0", "sent1", "hard_neg"),
)
"""Names under which pairs and triples are found."""
CUTS = (1, 5, 10)


class Searched(NamedTuple):
    """Distinct queries, distinct documents, and for each query the places of those that answer it."""

    queries: list[str]
    documents: list[str]
    relevant: list[list[int]]


def read_retrieval(path: Path) -> Searched:
    """Rows of a query, a document that answers it, and in further columns documents that do not: pairs or triples as
    one trains on, named as in NAMED or without a header. A query with several answers has a row for each.

    Raises ConfigError as `read_columns` does.
    """
    rows = read_columns(path, find_names(path, NAMED))
    if len(rows[0]) < 2:
        raise ConfigError(f"{path}: one column; expected a query, a document, and any number of others")
    return from_rows(rows)


def from_rows(rows: Sequence[Sequence[str]]) -> Searched:
    """Merges queries, and documents, that have the same text. An answer of any row is no distractor in another."""
    document: dict[str, int] = {}
    answers: dict[str, dict[int, None]] = {}
    for query, *texts in rows:
        places = [document.setdefault(text, len(document)) for text in texts]
        answers.setdefault(query, {})[places[0]] = None
    return Searched(list(answers), list(document), [list(places) for places in answers.values()])


def retrieval(encode: Encode, data: Searched, name: str = "retrieval") -> Measured:
    """`NAME/recall@1`, `@5`, `@10`, `mrr@10` and `ndcg@10` by cosine, 0 to 1, means over queries; and how many queries
    and documents there are. A text that is both query and document is encoded once, and finds itself."""
    vectors_UD, (query, document) = encode_once(encode, data.queries, data.documents)
    ranks = ranks_of(vectors_UD[query], vectors_UD[document], data.relevant)
    figures = {f"{name}/recall@{k}": recall_at(ranks, k) for k in CUTS}
    figures |= {f"{name}/mrr@10": mrr(ranks, 10), f"{name}/ndcg@10": ndcg(ranks, 10)}
    facts = {f"{name}/queries": len(data.queries), f"{name}/documents": len(data.documents)}
    rows = [{"query": text, "ranks": each.tolist()} for text, each in zip(data.queries, ranks, strict=True)]
    return Measured(tuple(figures), len(ranks), means(np.stack([*figures.values()], 1)), {}, facts, rows)
