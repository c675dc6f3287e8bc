"""Cached generation: one compiled program reads the prompts and writes until every row has ended.

Prompts of uneven length are padded on the left, so that all rows write the same cache slot; padding has a negative
position, which no query sees. B rows, P prompt slots, S slots, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgpt.decode.sampling import Sampling
from jaxgpt.models import Decoder
from jaxgpt.nn.layout import KV, Layout
from jaxgpt.nn.stack import split_layers
from jaxgpt.spec import ConfigError

GRAIN = 64
"""Slots and prompts are rounded up to a multiple of this, so that few lengths are ever compiled."""


class Decoding(NamedTuple):
    """Everything that changes while rows are written."""

    tokens_BS: jax.Array
    """int32: padding, prompt, what has been written."""
    slot: jax.Array
    """int32 scalar: the slot of the last written token, whose keys are not cached yet."""
    slot_pos_BS: jax.Array
    """int32: the position in each slot, negative where there is none."""
    cache: tuple[KV, ...]
    seen_BV: jax.Array | None
    done_B: jax.Array
    key: jax.Array


def generate(
    model: Decoder,
    params: Any,
    prompts: Sequence[Sequence[int]],
    max_new: int,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    eot: int | None = None,
    dtype: str = "float32",
) -> list[list[int]]:
    """New ids for each prompt, up to `max_new` and up to (without) end-of-text. See `stream`."""
    out: list[list[int]] = [[] for _ in prompts]
    for pieces in stream(model, params, prompts, max_new, sampling, seed, eot, dtype, every=max_new):
        for row, piece in zip(out, pieces, strict=True):
            row += piece
    return out


def stream(
    model: Decoder,
    params: Any,
    prompts: Sequence[Sequence[int]],
    max_new: int,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    eot: int | None = None,
    dtype: str = "float32",
    every: int = 16,
) -> Iterator[list[list[int]]]:
    """Yields the ids each row has gained, after every `every` tokens.

    A row that outgrows the model's context goes on from its last half context, read afresh. Raises ConfigError for an
    empty prompt, an id outside the vocabulary, or a prompt longer than the context.
    """
    _check(model, prompts)
    module = model.build(dtype=dtype)
    rows = [list(prompt) for prompt in prompts]
    ended, written = [False] * len(rows), 0
    while written < max_new and not all(ended):
        if max(map(len, rows)) >= model.context:
            half = max(1, model.context // 2)
            rows = [row[-half:] if len(row) >= model.context else row for row in rows]
        count = min(max_new - written, max(1, model.context - max(map(len, rows))))
        key = jax.random.fold_in(jax.random.key(seed), written)
        for new in _window(module, params, rows, count, sampling, key, eot, every):
            for row, ids in zip(rows, new, strict=True):
                row += ids
            yield [_until(ids, eot, ended, index) for index, ids in enumerate(new)]
            if all(ended):
                return
        written += count


def _window(
    module: nn.Module,
    params: Any,
    rows: Sequence[Sequence[int]],
    count: int,
    sampling: Sampling,
    key: jax.Array,
    eot: int | None,
    every: int,
) -> Iterator[list[list[int]]]:
    """`count` tokens for each row, `every` at a time, all within one cache."""
    tokens_BP, lengths_B = _pad(rows)
    P = tokens_BP.shape[1]
    slots = -(-(P + count) // GRAIN) * GRAIN
    state = _begin(module, sampling, eot, slots, params, tokens_BP, lengths_B, key, min(every, count))
    for start in range(0, count, every):
        stop = min(start + every, count)
        if start:
            state = _advance(module, sampling, eot, params, state, stop - start)
        yield np.asarray(state.tokens_BS[:, P + start : P + stop]).tolist()


def _until(ids: list[int], eot: int | None, ended: list[bool], row: int) -> list[int]:
    """What a row may show of its new ids: nothing from end-of-text on. Notes in `ended` that it was there."""
    if ended[row]:
        return []
    if eot is not None and eot in ids:
        ended[row] = True
        return ids[: ids.index(eot)]
    return ids


def _check(model: Decoder, prompts: Sequence[Sequence[int]]) -> None:
    vocab = model.vocab_size or 0
    for row, prompt in enumerate(prompts):
        if not prompt:
            raise ConfigError(f"prompt {row}: empty; give at least one token")
        if min(prompt) < 0 or max(prompt) >= vocab:
            raise ConfigError(f"prompt {row}: holds ids outside the vocabulary of {vocab}; use the model's tokenizer")
        if len(prompt) > model.context:
            raise ConfigError(f"prompt {row}: {len(prompt)} tokens exceed model.context {model.context}; shorten it")


def _pad(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows padded on the left to a common width, int32 (B, P), and their lengths, int32 (B,)."""
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.zeros((len(rows), -(-int(lengths.max()) // GRAIN) * GRAIN), np.int32)
    for row, ids in zip(tokens, rows, strict=True):
        row[len(row) - len(ids) :] = ids
    return tokens, lengths


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _begin(
    module: nn.Module,
    sampling: Sampling,
    eot: int | None,
    slots: int,
    params: Any,
    tokens_BP: jax.Array,
    lengths_B: jax.Array,
    key: jax.Array,
    count: jax.Array,
) -> Decoding:
    """Reads the prompts in one pass, writes the first `count` tokens."""
    B, P = tokens_BP.shape
    spec = module.spec
    index_S = jnp.arange(slots)
    pos_BS = index_S - (P - lengths_B[:, None])
    pos_BP = pos_BS[:, :P]
    slot_pos_BS = jnp.where((index_S < P) & (pos_BS >= 0), pos_BS, -1)
    layout = Layout(pos_BP, slot=jnp.int32(0), slot_pos=slot_pos_BS)
    split = _split(params)
    cache = spec.cache(B, slots, module.dtype)
    hidden, cache = module.apply({"params": split}, tokens_BP, layout, cache, method="extend")
    seen = None
    if sampling.repetition_penalty is not None:
        hot = jax.nn.one_hot(tokens_BP, spec.vocab_size, dtype=jnp.bool_) & (pos_BP >= 0)[..., None]
        seen = jnp.any(hot, 1)
    state = Decoding(
        tokens_BS=jnp.pad(tokens_BP, ((0, 0), (0, slots - P))),
        slot=jnp.int32(P - 1),
        slot_pos_BS=slot_pos_BS,
        cache=cache,
        seen_BV=seen,
        done_B=jnp.zeros(B, bool),
        key=key,
    )
    state = _write(module, sampling, eot, split, state, hidden[:, -1])
    return _loop(module, sampling, eot, split, state, count - 1)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _advance(
    module: nn.Module, sampling: Sampling, eot: int | None, params: Any, state: Decoding, count: jax.Array
) -> Decoding:
    """Writes `count` more tokens."""
    return _loop(module, sampling, eot, _split(params), state, count)


def _loop(
    module: nn.Module, sampling: Sampling, eot: int | None, split: Any, state: Decoding, count: jax.Array
) -> Decoding:
    def go_on(carry: tuple[jax.Array, Decoding]) -> jax.Array:
        left, state = carry
        return (left > 0) & ~jnp.all(state.done_B)

    def body(carry: tuple[jax.Array, Decoding]) -> tuple[jax.Array, Decoding]:
        left, state = carry
        B = state.tokens_BS.shape[0]
        last_B1 = jax.lax.dynamic_slice(state.tokens_BS, (0, state.slot), (B, 1))
        # Positions grow by one a slot in every row, so the last one tells the next.
        before_B1 = jax.lax.dynamic_slice(state.slot_pos_BS, (0, state.slot - 1), (B, 1))
        slot_pos_BS = jax.lax.dynamic_update_slice(state.slot_pos_BS, before_B1 + 1, (0, state.slot))
        layout = Layout(before_B1 + 1, slot=state.slot, slot_pos=slot_pos_BS)
        hidden, cache = module.apply({"params": split}, last_B1, layout, state.cache, method="extend")
        state = state._replace(cache=cache, slot_pos_BS=slot_pos_BS)
        return left - 1, _write(module, sampling, eot, split, state, hidden[:, -1])

    return jax.lax.while_loop(go_on, body, (count, state))[1]


def _write(
    module: nn.Module, sampling: Sampling, eot: int | None, split: Any, state: Decoding, hidden_BD: jax.Array
) -> Decoding:
    """Draws the next token of every row; rows that have ended repeat end-of-text."""
    logits_BV = module.apply({"params": split}, hidden_BD, method="unembed")
    new_B = sampling.draw(logits_BV, state.seen_BV, jax.random.fold_in(state.key, state.slot))
    done_B = state.done_B
    if eot is not None:
        new_B = jnp.where(done_B, eot, new_B)
        done_B = done_B | (new_B == eot)
    seen = state.seen_BV
    if seen is not None:
        seen = seen | jax.nn.one_hot(new_B, seen.shape[1], dtype=jnp.bool_)
    tokens_BS = jax.lax.dynamic_update_slice(state.tokens_BS, new_B[:, None], (0, state.slot + 1))
    return state._replace(tokens_BS=tokens_BS, slot=state.slot + 1, seen_BV=seen, done_B=done_B)


def _split(params: Any) -> Any:
    """The layers unstacked before the loop, so that no weight is copied inside it."""
    return {**params, "blocks": {"layers": split_layers(params["blocks"]["layers"])}}
