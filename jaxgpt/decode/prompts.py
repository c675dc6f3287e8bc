"""Prompts as a compiled program takes them. B rows, P prompt slots, V vocabulary."""

from collections.abc import Sequence

import numpy as np

from jaxgpt.models import Model
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import quote

GRAIN = 64
"""Cache slots are rounded up to a multiple of this, and prompts to a power of two: few lengths are ever compiled."""
MOST_NEW = 1_000_000
"""The most tokens that are written in a call."""


def checked(model: Model, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """The prompts as lists. Raises ConfigError naming the first that cannot be continued."""
    vocab, rows = model.vocab_size or 0, []
    for row, prompt in enumerate(prompts):
        try:
            ids = np.asarray(prompt)
        except (TypeError, ValueError, OverflowError):  # of uneven depth
            ids = np.asarray(None)
        if ids.shape == (0,):
            raise ConfigError(f"prompt {row}: empty; give at least one token")
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise ConfigError(f"prompt {row}: {quote(prompt)}, expected a list of token ids")
        if ids.min() < 0 or ids.max() >= vocab:
            raise ConfigError(f"prompt {row}: holds ids outside the vocabulary of {vocab}; use the model's tokenizer")
        if len(ids) > model.room and not model.endless:
            less = "" if model.room == model.context else f" less {model.context - model.room} virtual tokens"
            raise ConfigError(f"prompt {row}: {len(ids)} tokens exceed model.context {model.context}{less}; shorten it")
        rows.append(ids.tolist())
    return rows


def drawable(model: Model, has_text: np.ndarray | None) -> np.ndarray | None:
    """bool (V,), or None where every id of the model has a text, as is usual: then nothing is computed for it."""
    if has_text is None:
        return None
    drawable_V = np.zeros(model.vocab_size or 0, bool)
    size = min(len(drawable_V), len(has_text))
    drawable_V[:size] = has_text[:size]
    return None if drawable_V.all() else drawable_V


def without(ends: Sequence[int], model: Model, drawable_V: np.ndarray | None) -> np.ndarray:
    """bool (V,): the ids that may be drawn while no text may end."""
    early_V = np.ones(model.vocab_size or 0, bool) if drawable_V is None else drawable_V.copy()
    early_V[[token for token in ends if token < len(early_V)]] = False
    return early_V


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows padded on the left to a common width, int32 (B, P), and their lengths, int32 (B,)."""
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.zeros((len(rows), max(16, 1 << (int(lengths.max()) - 1).bit_length())), np.int32)
    for row, ids in zip(tokens, rows, strict=True):
        row[len(row) - len(ids) :] = ids
    return tokens, lengths


def no_numbers(call: str, dtype: str) -> JaxgptError:
    """What is raised where the model computed NaN or infinity."""
    return JaxgptError(
        f"{call}: the model computes NaN or infinity in {dtype}; load it with dtype float32, or, where that is so "
        "already, other weights"
    )
