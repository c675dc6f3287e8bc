"""The compiled part of generation: read the prompts in one pass, then write tokens in a loop on the device.

B rows, P prompt slots, S slots, D model width, V vocabulary.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgpt.decode.sampling import Sampling
from jaxgpt.nn.cache import KV
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.stack import split_layers


class Decoding(NamedTuple):
    """Everything that changes while rows are written."""

    tokens_BS: jax.Array
    """int32: padding, prompt, what has been written."""
    slot: jax.Array
    """int32 scalar: the slot of the last written token, whose keys are not cached yet."""
    lacks_B: jax.Array
    """int32: the empty slots before each row's first token."""
    cache: tuple[KV, ...]
    seen_BV: jax.Array | None
    done_B: jax.Array
    key: jax.Array


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def begin(
    module: nn.Module,
    sampling: Sampling,
    eot: int | None,
    slots: int,
    params: Any,
    drawable_V: jax.Array | None,
    tokens_BP: jax.Array,
    lengths_B: jax.Array,
    key: jax.Array,
    count: jax.Array,
) -> Decoding:
    """Reads the prompts in one pass, writes the first `count` tokens. `drawable_V`, bool: which ids may be drawn; None:
    all."""
    B, P = tokens_BP.shape
    spec = module.spec
    lacks_B = P - lengths_B
    pos_BP = jnp.arange(P, dtype=jnp.int32) - lacks_B[:, None]
    layout = Layout(pos_BP, slot=jnp.int32(0), lacks=lacks_B, slots=slots)
    cache = spec.cache(B, slots, module.dtype)
    hidden, cache = module.apply({"params": params}, tokens_BP, layout, cache, method="extend")
    seen = None
    if sampling.repetition_penalty is not None:
        hot = jax.nn.one_hot(tokens_BP, spec.vocab_size, dtype=jnp.bool_) & (pos_BP >= 0)[..., None]
        seen = jnp.any(hot, 1)
    state = Decoding(
        tokens_BS=jnp.pad(tokens_BP, ((0, 0), (0, slots - P))),
        slot=jnp.int32(P - 1),
        lacks_B=lacks_B,
        cache=cache,
        seen_BV=seen,
        done_B=jnp.zeros(B, bool),
        key=key,
    )
    state = _write(module, sampling, eot, params, drawable_V, state, hidden[:, -1])
    return _loop(module, sampling, eot, params, drawable_V, state, count - 1)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=5)
def advance(
    module: nn.Module,
    sampling: Sampling,
    eot: int | None,
    params: Any,
    drawable_V: jax.Array | None,
    state: Decoding,
    count: jax.Array,
) -> Decoding:
    """Writes `count` more tokens."""
    return _loop(module, sampling, eot, params, drawable_V, state, count)


def _loop(
    module: nn.Module,
    sampling: Sampling,
    eot: int | None,
    params: Any,
    drawable_V: jax.Array | None,
    state: Decoding,
    count: jax.Array,
) -> Decoding:
    def go_on(carry: tuple[jax.Array, Decoding]) -> jax.Array:
        left, state = carry
        return (left > 0) & ~jnp.all(state.done_B)

    def body(carry: tuple[jax.Array, Decoding]) -> tuple[jax.Array, Decoding]:
        left, state = carry
        B = state.tokens_BS.shape[0]
        last_B1 = jax.lax.dynamic_slice(state.tokens_BS, (0, state.slot), (B, 1))
        pos_B1 = state.slot - state.lacks_B[:, None]
        layout = Layout(pos_B1, slot=state.slot, lacks=state.lacks_B, slots=state.tokens_BS.shape[1])
        hidden, cache = module.apply({"params": params}, last_B1, layout, state.cache, method="extend")
        state = state._replace(cache=cache)
        return left - 1, _write(module, sampling, eot, params, drawable_V, state, hidden[:, -1])

    return jax.lax.while_loop(go_on, body, (count, state))[1]


def _write(
    module: nn.Module,
    sampling: Sampling,
    eot: int | None,
    params: Any,
    drawable_V: jax.Array | None,
    state: Decoding,
    hidden_BD: jax.Array,
) -> Decoding:
    """Draws the next token of every row; rows that have ended repeat end-of-text."""
    logits_BV = module.apply({"params": params}, hidden_BD, method="unembed")
    if drawable_V is not None:
        logits_BV = jnp.where(drawable_V, logits_BV, -jnp.inf)
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


@jax.jit
def unstack(params: Any) -> Any:
    """Parameters with their layers apart: without it a decoding loop would copy every weight on each call."""
    return {**params, "blocks": {"layers": split_layers(params["blocks"]["layers"])}}
