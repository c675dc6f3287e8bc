"""Vectors of texts that come up many times. U distinct texts, D vector width."""

from collections.abc import Callable, Sequence

import numpy as np

Encode = Callable[[list[str]], np.ndarray]
"""N texts -> float32 (N, D), as `m.encode` does."""


def encode_once(encode: Encode, *columns: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    """float32 (U, D) of all distinct texts in the order they come, by one call, and for each column its texts' rows.

    Raises ValueError where `encode` gives another number of rows.
    """
    row: dict[str, int] = {}
    index = [np.array([row.setdefault(text, len(row)) for text in column], np.int64) for column in columns]
    vectors_UD = np.asarray(encode(list(row)), np.float32)
    if vectors_UD.ndim != 2 or len(vectors_UD) != len(row):
        raise ValueError(f"encode: shape {vectors_UD.shape} for {len(row)} texts; expected a row for each")
    return vectors_UD, index


def remembering(encode: Encode) -> Encode:
    """`encode`, which is asked for the same text once."""
    known: dict[str, np.ndarray] = {}

    def recall(texts: list[str]) -> np.ndarray:
        new = [text for text in texts if text not in known]
        if new:
            known.update(zip(new, encode(new), strict=True))
        return np.stack([known[text] for text in texts])

    return recall
