"""Cached generation from token ids.

Prompts of uneven length are padded on the left, so that all rows write the same cache slot; padding has a negative
position, which no query sees. B rows, P prompt slots.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.decode.loop import Inputs, Program, advance, begin
from jaxgpt.decode.pieces import PIECE
from jaxgpt.decode.prompts import GRAIN, MOST_NEW, checked, drawable, no_numbers, padded
from jaxgpt.decode.sampling import Sampling
from jaxgpt.models import Model
from jaxgpt.nn.stack import unstack
from jaxgpt.ops.attention import Auto
from jaxgpt.ops.sharding import platform
from jaxgpt.spec.arguments import whole

BEGIN = jax.jit(begin, static_argnums=(0, 1))
ADVANCE = jax.jit(advance, static_argnums=0, donate_argnums=2)
MOST_SEED = 2**32 - 1
"""The largest seed that is not another one's."""


def generate(
    model: Model,
    params: Any,
    prompts: Sequence[Sequence[int]],
    max_new: int,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    eot: int | None = None,
    dtype: str = "float32",
    has_text: np.ndarray | None = None,
) -> list[list[int]]:
    """New ids for each prompt, up to `max_new` and up to (without) end-of-text. See `stream`."""
    max_new = whole("max_new", max_new, 0, MOST_NEW)
    out: list[list[int]] = [[] for _ in prompts]
    for pieces in stream(model, params, prompts, max_new, sampling, seed, eot, dtype, has_text, every=max(max_new, 1)):
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
    eot: int | None = None,
    dtype: str = "float32",
    has_text: np.ndarray | None = None,
    every: int = 16,
) -> Iterator[list[list[int]]]:
    """Yields the ids each row has gained, after every `every` tokens.

    `has_text`, bool, says which ids may be drawn (`Codec.has_text`): those that it does not reach, as of a padded
    vocabulary, may not. None: all. A row that outgrows the model's context goes on from its last half context, read
    afresh, unless the model is endless (see Model.endless): then it simply goes on, in constant memory.

    Raises ConfigError for an empty prompt, an id outside the vocabulary, or a prompt longer than the context, and
    JaxgptError where the model computes NaN or infinity.
    """
    max_new, seed = whole("max_new", max_new, 0, MOST_NEW), whole("seed", seed, 0, MOST_SEED)
    rows = checked(model, prompts)
    model, params = model.finished(params)
    inputs = Inputs(unstack(params), sampling.values, drawable(model, has_text))
    program = Program(model.build(Auto(), dtype), sampling.steps, eot, piece=PIECE[platform()])
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
        for new in _window(program, inputs, rows, count, key, every):
            for row, ids in zip(rows, new, strict=True):
                row += ids
            yield [_until(ids, eot, ended, index) for index, ids in enumerate(new)]
            if all(ended):
                return
        written += count


def _window(
    program: Program, inputs: Inputs, rows: Sequence[Sequence[int]], count: int, key: jax.Array, every: int
) -> Iterator[list[list[int]]]:
    """`count` tokens for each row, `every` at a time, all within one cache."""
    tokens_BP, lengths_B = padded(rows)
    P = program.slots(tokens_BP.shape[1])
    capacity = -(-(P + count) // GRAIN) * GRAIN
    state, written = BEGIN(program, capacity, inputs, tokens_BP, lengths_B, key), 1
    for start in range(0, count, every):
        stop = min(start + every, count)
        rest = (stop - written) % program.piece
        for part, size in ((program, stop - written - rest), (program._replace(piece=1), rest)):
            state = ADVANCE(part, inputs, state, size) if size else state
        written = stop
        if not state.finite:
            raise no_numbers("generate", str(jnp.dtype(program.module.dtype)))
        yield np.asarray(state.tokens_BS[:, P + start : P + stop]).tolist()


def _until(ids: list[int], eot: int | None, ended: list[bool], row: int) -> list[int]:
    """What a row may show of its new ids: nothing from end-of-text on. Notes in `ended` that it was there."""
    if ended[row]:
        return []
    if eot is not None and eot in ids:
        ended[row] = True
        return ids[: ids.index(eot)]
    return ids
