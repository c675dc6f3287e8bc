"""Texts that a model writes after prompts, up to their ends or to a text at which they stop."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.decode import Sampling
from jaxgpt.decode.generation import Piece, scored_stream, until_end
from jaxgpt.decode.prompts import MOST_NEW
from jaxgpt.models import Model
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import strings
from jaxgpt.text import Codec

PIECE = 16
"""Tokens that are written before stops are looked for."""


class Generated(NamedTuple):
    """What was written after a prompt."""

    text: str
    ids: list[int]
    """New tokens: the one that ends the text is among them, and so is what a stop cuts off."""
    log_probs: list[float]
    """Nats, of each by the model itself, before temperature, cuts and penalties; empty where not asked for."""


def write(
    model: Model,
    params: Any,
    codec: Codec,
    rows: Sequence[list[int]],
    max_new: int,
    sampling: Sampling,
    seed: int,
    ends: Sequence[int],
    dtype: str,
    stops: Sequence[str] = (),
    suppress: Sequence[int] = (),
    log_probs: bool = False,
) -> list[Generated]:
    """A text for each row of ids; ids in `suppress` are never written. Writing ends once every row has come to its end
    or to a stop, which is looked for in the text, so it may begin within a token."""
    known = codec.has_text
    if suppress:
        known = np.array(known)
        known[list(suppress)] = False
    new, texts = [Piece([], []) for _ in rows], [""] * len(rows)
    how = max_new, sampling, seed, ends, dtype, known, PIECE if stops else MOST_NEW, log_probs
    for pieces in scored_stream(model, params, rows, *how):
        for whole, piece in zip(new, pieces, strict=True):
            whole.ids.extend(piece.ids)
            whole.log_probs.extend(piece.log_probs)
        own = [until_end(whole.ids, ends) for whole in new]
        texts = [codec.continuation(row, ids) for row, ids in zip(rows, own, strict=True)]
        over = (
            len(ids) < len(whole.ids) or before_stop(text, stops) != text
            for ids, whole, text in zip(own, new, texts, strict=True)
        )
        if stops and all(over):
            break
    return [Generated(before_stop(text, stops), *whole) for text, whole in zip(texts, new, strict=True)]


def checked_stops(stop: str | Sequence[str]) -> list[str]:
    """The texts to stop at. Raises ConfigError for what is none, or empty."""
    stops = strings("stop", stop)
    if "" in stops:
        raise ConfigError("stop: holds an empty text, at which nothing could be written; leave it out")
    return stops


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stops in it."""
    ends = [text.find(word) for word in stop if word in text]
    return text[: min(ends)] if ends else text
