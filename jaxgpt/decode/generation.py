"""Cached generation from token ids.

Prompts of uneven length are padded on the left, so that all rows write the same cache slot; padding has a negative
position, which no query sees. B rows, P prompt slots.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.decode.loop import Inputs, Program, advance, begin
from jaxgpt.decode.pieces import PIECE
from jaxgpt.decode.prompts import GRAIN, MOST_NEW, checked, drawable, no_numbers, padded, without
from jaxgpt.decode.sampling import MOST_IDS, Sampling
from jaxgpt.models import Model
from jaxgpt.nn.stack import unstack
from jaxgpt.ops.attention import Auto
from jaxgpt.ops.sharding import platform
from jaxgpt.spec.arguments import whole

BEGIN = jax.jit(begin, static_argnums=(0, 1))
ADVANCE = jax.jit(advance, static_argnums=0, donate_argnums=2)
MOST_SEED = 2**32 - 1
"""The largest seed that is not another one's."""


class Piece(NamedTuple):
    """What a row has gained."""

    ids: list[int]
    log_probs: list[float]
    """Nats, of each id by the model itself, before temperature, cuts and penalty; empty where not asked for."""


def generate(
    model: Model,
    params: Any,
    prompts: Sequence[Sequence[int]],
    max_new: int,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    ends: Sequence[int] = (),
    dtype: str = "float32",
    has_text: np.ndarray | None = None,
) -> list[list[int]]:
    """New ids for each prompt, up to `max_new` and up to (without) the first of `ends`. See `stream`."""
    max_new = whole("max_new", max_new, 0, MOST_NEW)
    out: list[list[int]] = [[] for _ in prompts]
    for pieces in stream(model, params, prompts, max_new, sampling, seed, ends, dtype, has_text, every=max(max_new, 1)):
        for row, piece in zip(out, pieces, strict=True):
            row += piece
    return out


def stream(
    model: Model,
    params: Any,
    prompts: Sequence[Sequence[int]],
    max_new: int,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    ends: Sequence[int] = (),
    dtype: str = "float32",
    has_text: np.ndarray | None = None,
    every: int = 16,
) -> Iterator[list[list[int]]]:
    """Yields the ids each row has gained, after every `every` tokens. See `scored_stream`."""
    given = model, params, prompts, max_new, sampling, seed, ends, dtype, has_text, every
    for pieces in scored_stream(*given, log_probs=False):
        yield [until_end(piece.ids, ends) for piece in pieces]


def scored_stream(
    model: Model,
    params: Any,
    prompts: Sequence[Sequence[int]],
    max_new: int,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    ends: Sequence[int] = (),
    dtype: str = "float32",
    has_text: np.ndarray | None = None,
    every: int = 16,
    log_probs: bool = True,
) -> Iterator[list[Piece]]:
    """Yields what each row has gained, the one of `ends` that ends it included, after every `every` tokens.

    `has_text`, bool, says which ids may be drawn (`Codec.has_text`): those that it does not reach, as of a padded
    vocabulary, may not. None: all. A row that outgrows the model's context goes on from its last half context, read
    afresh, unless the model is endless (see Model.endless): then it simply goes on, in constant memory.

    Raises ConfigError for an empty prompt, an id outside the vocabulary, or a prompt longer than the context, and
    JaxgptError where the model computes NaN or infinity.
    """
    max_new, seed = whole("max_new", max_new, 0, MOST_NEW), whole("seed", seed, 0, MOST_SEED)
    rows = checked(model, prompts)
    model, params = model.finished(params)
    drawable_V = drawable(model, has_text)
    inputs = Inputs(unstack(params), sampling.values, drawable_V)
    if sampling.min_new is not None:
        inputs = inputs._replace(early_V=without(ends, model, drawable_V))
    program = Program(model.build(Auto(), dtype), sampling.steps, tuple(ends), log_probs, PIECE[platform()])
    context = None if model.endless else model.room
    ended, written = [False] * len(rows), 0
    while written < max_new and not all(ended):
        count = max_new - written
        if context is not None:
            if max(map(len, rows)) >= context:
                half = max(1, context // 2)
                rows = [row[-half:] if len(row) >= context else row for row in rows]
            count = min(count, max(1, context - max(map(len, rows))))
        key = jax.random.fold_in(jax.random.key(seed), written)
        early = max((sampling.min_new or 0) - written, 0)
        for new in _window(program, inputs, rows, count, early, key, every):
            for row, piece in zip(rows, new, strict=True):
                row += piece.ids
            yield [_up_to_end(piece, ends, ended, index) for index, piece in enumerate(new)]
            if all(ended):
                return
        written += count


def _window(
    program: Program, inputs: Inputs, rows: Sequence[Sequence[int]], count: int, early: int, key: jax.Array, every: int
) -> Iterator[list[Piece]]:
    """`count` tokens for each row, `every` at a time, all within one cache; the first `early` end no text."""
    tokens_BP, lengths_B = padded(rows)
    P = program.slots(tokens_BP.shape[1])
    capacity = -(-(P + count) // GRAIN) * GRAIN
    inputs = inputs._replace(first_end=np.int32(min(P + early, MOST_IDS)))
    state, written = BEGIN(program, capacity, inputs, tokens_BP, lengths_B, key), 1
    for start in range(0, count, every):
        stop = min(start + every, count)
        rest = (stop - written) % program.piece
        for part, size in ((program, stop - written - rest), (program._replace(piece=1), rest)):
            state = ADVANCE(part, inputs, state, size) if size else state
        written = stop
        if not state.finite:
            raise no_numbers("generate", str(jnp.dtype(program.module.dtype)))
        ids = np.asarray(state.tokens_BS[:, P + start : P + stop]).tolist()
        log_probs: list[list[float]] = [[] for _ in ids]
        if state.log_probs_BS is not None:
            log_probs = np.asarray(state.log_probs_BS[:, P + start : P + stop]).tolist()
        yield [Piece(*row) for row in zip(ids, log_probs, strict=True)]


def until_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    """The ids before the first that ends a text."""
    return ids[: next((i for i, token in enumerate(ids) if token in ends), len(ids))]


def _up_to_end(piece: Piece, ends: Sequence[int], ended: list[bool], row: int) -> Piece:
    """What a row may show of its new ids: nothing behind what ends it. Notes in `ended` that it was there."""
    if ended[row]:
        return Piece([], [])
    own = len(until_end(piece.ids, ends))
    ended[row] = own < len(piece.ids)
    return Piece(piece.ids[: own + 1], piece.log_probs[: own + 1])
