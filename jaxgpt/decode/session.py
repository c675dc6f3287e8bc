"""One row that is written on and on: what a new prompt shares with what was read before stays in the cache.

S slots, W tokens of a piece that is read, D model width, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.decode.generation import stream, until_end
from jaxgpt.decode.loop import Decoding, Inputs, Program, advance, write_token
from jaxgpt.decode.prompts import GRAIN, checked, drawable, no_numbers, without
from jaxgpt.decode.sampling import Sampling
from jaxgpt.models import Model
from jaxgpt.nn.cache import Cache
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.stack import unstack
from jaxgpt.ops.attention import Auto
from jaxgpt.spec import ConfigError

PIECE = 8
"""Tokens that are written before they are shown."""
SHORTEST = 16
"""Tokens of the least piece that is read."""


class Session:
    """A decoder with the cache of one row. Of a model whose cache is a ring of fewer slots than its context, or in
    front of whose texts an adapter's tokens stand, every prompt is read whole."""

    def __init__(
        self,
        model: Model,
        params: Any,
        sampling: Sampling = Sampling(),
        ends: Sequence[int] = (),
        dtype: str = "float32",
        has_text: np.ndarray | None = None,
    ):
        self._given, self._sampling, self._dtype, self._has_text = (model, params), sampling, dtype, has_text
        self._model, params = model.finished(params)
        drawable_V = drawable(model, has_text)
        self._inputs = Inputs(unstack(params), sampling.values, drawable_V)
        if sampling.min_new is not None:
            self._inputs = self._inputs._replace(early_V=without(ends, model, drawable_V))
        self._program = Program(self._model.build(Auto(), dtype), sampling.steps, tuple(ends))
        self._slots = -(-self._model.room // GRAIN) * GRAIN
        cache = self._empty()
        slots = {leaf.shape[2] for leaf in jax.tree.leaves(cache)}
        self._keeps = slots == {self._slots} and not int(self._program.module.spec.embedded_tokens)
        self._cache, self._ids = cache, list[int]()
        self.read = 0
        """Tokens of prompts that went through the model so far."""

    def write(self, prompt: Sequence[int], max_new: int, seed: int = 0) -> Iterator[list[int]]:
        """New ids after a prompt, some at a time, up to the first of `ends` and without it. Raises ConfigError where
        prompt and new tokens exceed the context."""
        (row,) = checked(self._model, [prompt])
        if len(row) + max_new > self._model.room:
            raise ConfigError(
                f"max_new: {max_new} after a prompt of {len(row)} tokens exceeds the model's {self._model.room}; "
                "lower it"
            )
        if not self._keeps:
            self.read += len(row)
            ends, known = self._program.ends, self._has_text
            for (new,) in stream(*self._given, [row], max_new, self._sampling, seed, ends, self._dtype, known, PIECE):
                yield new
            return
        start = _shared(self._ids, row)
        cache = self._cache if start else self._empty()
        rest = row[start:]
        width = min(max(SHORTEST, 1 << (len(rest) - 1).bit_length()), self._slots - start)
        piece = np.zeros((1, width), np.int32)
        piece[0, : len(rest)] = rest
        tokens = np.zeros((1, self._slots), np.int32)
        tokens[0, : len(row)] = row
        self.read += len(rest)
        key = jax.random.key(seed)
        inputs = self._inputs._replace(first_end=np.int32(len(row) + (self._sampling.min_new or 0)))
        state = RESUME(self._program, inputs, cache, tokens, piece, np.int32(start), np.int32(len(rest)), key)
        written = 1
        for end in range(0, max_new, PIECE):
            until = min(end + PIECE, max_new)
            if until > written:
                state, written = ADVANCE(self._program, inputs, state, until - written), until
            self._cache = state.cache
            new = np.asarray(state.tokens_BS[0, len(row) + end : len(row) + until]).tolist()
            if not state.finite:
                raise no_numbers("chat", str(jnp.dtype(self._program.module.dtype)))
            self._ids = [*row, *np.asarray(state.tokens_BS[0, len(row) : int(state.cursor)]).tolist()]
            own = until_end(new, self._program.ends)
            yield own
            if len(own) < len(new):
                return

    def _empty(self) -> Cache:
        return self._program.module.spec.cache(1, self._slots, self._program.module.dtype)


def resume(
    program: Program,
    inputs: Inputs,
    cache: Cache,
    tokens_1S: jax.Array,
    piece_1W: jax.Array,
    start: jax.Array,
    count: jax.Array,
    key: jax.Array,
) -> Decoding:
    """Reads a piece of `count` tokens behind the first `start`, which the cache holds, and writes the first new token.

    What fills the piece up is written behind the row's end: no query sees it before another token takes its slot.
    """
    S, W = tokens_1S.shape[1], piece_1W.shape[1]
    padding = jnp.zeros(1, jnp.int32)
    pos_1W = start + jnp.arange(W, dtype=jnp.int32)[None]
    layout = Layout(pos_1W, cursor=start, padding=padding, capacity=S)
    hidden_1WD, cache = program.module.apply({"params": inputs.params}, piece_1W, layout, cache, method="extend")
    seen_1V = None
    if program.steps.penalises:
        own_S = jnp.arange(S) < start + count
        ids = jnp.where(own_S, tokens_1S[0], program.module.spec.vocab_size)
        seen_1V = jnp.zeros((1, program.module.spec.vocab_size), bool).at[0, ids].set(True, mode="drop")
    state = Decoding(
        tokens_BS=tokens_1S,
        cursor=start + count - 1,
        padding_B=padding,
        cache=cache,
        seen_BV=seen_1V,
        log_probs_BS=None,
        done_B=jnp.zeros(1, bool),
        finite=jnp.bool_(True),
        key=key,
    )
    return write_token(program, inputs, state, jax.lax.dynamic_index_in_dim(hidden_1WD, count - 1, 1, keepdims=False))


RESUME = jax.jit(resume, static_argnums=0)
ADVANCE = jax.jit(advance, static_argnums=0, donate_argnums=2)


def _shared(cached: Sequence[int], row: Sequence[int]) -> int:
    """How many of the first tokens are the same; the row's last is always read."""
    most = min(len(cached), len(row) - 1)
    return next((i for i in range(most) if cached[i] != row[i]), most)
