"""Cosines of a few scored pairs, each first text with each second one: what a heat map of a model's vectors shows."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from jaxgpt.evals.vectors import Encode, encode_once
from jaxgpt.text.corpora.columns import ScoredPairs

PAIRS = 16


class Heat(NamedTuple):
    """P pairs from the highest score to the lowest."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: np.ndarray
    """float64 (P,), as people gave them."""
    cosines: np.ndarray
    """float64 (P, P): rows are first texts, columns second ones, so that the diagonal holds the pairs."""

    def as_json(self) -> dict[str, Any]:
        """Four places suffice a picture."""
        cosines = self.cosines.round(4).tolist()
        return {"first": self.first, "second": self.second, "scores": self.scores.tolist(), "cosines": cosines}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Self:
        """What `as_json` made. A cosine that was not finite is null in a file, and NaN again here."""
        scores, cosines = (np.array(content[name], float) for name in ("scores", "cosines"))
        return cls(tuple(content["first"]), tuple(content["second"]), scores, cosines)

    def checked(self) -> Self:
        """Itself. Raises ValueError where its parts do not fit each other, as in a file that is not ours."""
        pairs = len(self.first)
        texts = all(isinstance(text, str) for text in (*self.first, *self.second))
        if not (texts and pairs and len(self.second) == pairs and self.scores.shape == (pairs,)):
            raise ValueError("first, second and scores differ in length")
        if self.cosines.shape != (pairs, pairs):
            raise ValueError(f"expected {pairs} x {pairs} cosines, found {self.cosines.shape}")
        return self


def heat(encode: Encode, subsets: Mapping[str, ScoredPairs], pairs: int = PAIRS) -> Heat:
    """The map of up to `pairs` pairs, the same for every model, spread evenly over the ranking by score; no text comes
    twice, unless there are no such pairs."""
    rows = [row for subset in subsets.values() for row in zip(subset.first, subset.second, subset.scores, strict=True)]
    rows.sort(key=lambda row: -row[2])
    seen: set[str] = set()
    distinct = []
    for row in rows:
        if row[0] != row[1] and seen.isdisjoint(row[:2]):
            distinct.append(row)
            seen.update(row[:2])
    distinct = distinct or rows
    places = np.linspace(0, len(distinct) - 1, min(pairs, len(distinct))).round().astype(int)
    first, second, scores = zip(*(distinct[index] for index in places), strict=True)
    vectors_UD, (left, right) = encode_once(encode, first, second)
    unit_UD = vectors_UD.astype(float)
    unit_UD /= np.maximum(np.linalg.norm(unit_UD, axis=-1, keepdims=True), 1e-12)
    return Heat(first, second, np.array(scores, float), unit_UD[left] @ unit_UD[right].T)
