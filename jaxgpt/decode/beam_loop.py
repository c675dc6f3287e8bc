"""Beam search on the device: all rows' beams are written together, and how many steps it takes is found there.

B rows, K beams of a row, C candidates of a row, N tokens written at most, P prompt slots, S slots, D model width, V
vocabulary, X = B K.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgpt.decode.loop import extend, in_dtype, read
from jaxgpt.decode.sampling import repeating
from jaxgpt.nn.cache import Cache

NEVER = -jnp.inf
"""The score of a place that holds nothing."""


class Search(NamedTuple):
    """What is known while compiling."""

    module: nn.Module
    width: int
    """K."""
    penalty: str
    stop: str
    ends: tuple[int, ...]
    """Ids that end a text."""
    most: int
    """N."""
    no_repeat: int = 0
    """Tokens of a run that no text may hold twice; 0: any."""


class Inputs(NamedTuple):
    """Arrays that the compiled search is given."""

    params: Any
    alpha: Any
    limit: Any
    """int32: tokens after which every text ends, at most N."""
    drawable_V: Any
    """bool: which ids may be written; None: all."""
    min_new: Any = 0
    """int32: tokens before which no text ends."""


class Beams(NamedTuple):
    """Texts of each row, best first."""

    tokens_BKN: jax.Array
    """int32; whatever lies behind a text's own length is no part of it."""
    scores_BK: jax.Array
    """float32: the sum of log-probabilities over the penalty; -inf where there is no text."""
    log_probs_BK: jax.Array
    """float32, nats: that sum."""
    lengths_BK: jax.Array
    """int32: tokens written, the one that ends the text included."""


class Prompts(NamedTuple):
    """What every beam is written behind, X of them."""

    tokens_XP: jax.Array
    padding_X: jax.Array
    """int32: the empty slots on the left of each."""


class State(NamedTuple):
    """Everything that changes while rows are written."""

    written: jax.Array
    """int32: tokens of each living text."""
    tokens_BKN: jax.Array
    log_probs_BK: jax.Array
    """Of the living, best first; -inf where nothing lives."""
    ended: Beams
    open_B: jax.Array
    """bool: rows in which something may still get better."""
    cache: Cache
    finite: jax.Array


def search(
    program: Search, capacity: int, inputs: Inputs, tokens_BP: jax.Array, lengths_B: jax.Array
) -> tuple[Beams, jax.Array]:
    """The best texts of each row, and whether all that they were found by was numbers."""
    module, K, N = program.module, program.width, program.most
    tokens_BP, padding_B, cache, hidden_BD = read(module, capacity, inputs.params, tokens_BP, lengths_B)
    B, P = tokens_BP.shape
    weights = in_dtype(inputs.params, module.dtype, {"weight"})
    inputs = inputs._replace(params=in_dtype(inputs.params, module.dtype, {"weight", "token"}))
    prompts = Prompts(jnp.repeat(tokens_BP, K, 0), jnp.repeat(padding_B, K))
    nothing = jnp.full((B, K), NEVER)
    empty = jnp.zeros((B, K, N), jnp.int32)
    state = State(
        written=jnp.int32(0),
        tokens_BKN=empty,
        log_probs_BK=nothing.at[:, 0].set(0.0),
        ended=Beams(empty, nothing, nothing, jnp.zeros((B, K), jnp.int32)),
        open_B=jnp.ones(B, bool),
        cache=jax.tree.map(lambda x: jnp.repeat(x, K, 0), cache),
        finite=jnp.bool_(True),
    )

    def go_on(state: State) -> jax.Array:
        return (state.written < inputs.limit) & jnp.any(state.open_B)

    def token(state: State) -> State:
        last_BK = jax.lax.dynamic_index_in_dim(state.tokens_BKN, state.written - 1, 2, keepdims=False)
        cursor = P - 1 + state.written
        hidden_XD, cache = extend(
            module, weights, last_BK.reshape(-1), cursor, prompts.padding_X, capacity, state.cache
        )
        return choose(program, inputs, prompts, state._replace(cache=cache), hidden_XD)

    state = choose(program, inputs, prompts, state, jnp.repeat(hidden_BD, K, 0))
    state = jax.lax.while_loop(go_on, token, state)
    return state.ended, state.finite


def choose(program: Search, inputs: Inputs, prompts: Prompts, state: State, hidden_XD: jax.Array) -> State:
    """Writes a token in every living text: of the likeliest candidates those that end join the ended, the best of the
    others live on. The cache follows them."""
    (B, K), N = state.log_probs_BK.shape, program.most
    logits_XV = program.module.apply({"params": inputs.params}, hidden_XD[:, None], method="unembed")[:, 0]
    new_XV = jax.nn.log_softmax(logits_XV.astype(jnp.float32))
    if inputs.drawable_V is not None:
        new_XV = jnp.where(inputs.drawable_V, new_XV, NEVER)
    V = new_XV.shape[1]
    if program.ends:
        early = state.written < inputs.min_new
        new_XV = new_XV.at[:, jnp.array(program.ends)].min(jnp.where(early, NEVER, jnp.inf), mode="drop")
    if program.no_repeat:
        row_XS = jnp.concatenate([prompts.tokens_XP, state.tokens_BKN.reshape(B * K, N)], 1)
        cursor = prompts.tokens_XP.shape[1] - 1 + state.written
        new_XV = jnp.where(repeating(row_XS, cursor, prompts.padding_X, program.no_repeat, V), NEVER, new_XV)
    all_BX = (state.log_probs_BK[..., None] + new_XV.reshape(B, K, V)).reshape(B, K * V)
    C = min(K * V, K * max(2, 1 + len(program.ends)))  # whatever ends, K others are left
    log_probs_BC, at_BC = jax.lax.top_k(all_BX, C)
    parent_BC, token_BC = at_BC // V, at_BC % V
    written = state.written + 1
    tokens_BCN = jnp.take_along_axis(state.tokens_BKN, parent_BC[..., None], 1)
    tokens_BCN = jnp.where(jnp.arange(N) == state.written, token_BC[..., None], tokens_BCN)

    ends_BC = jnp.isin(token_BC, jnp.array(program.ends, jnp.int32)) | (written >= inputs.limit)
    scores_BC = log_probs_BC / _penalty(program, written, inputs.alpha)
    enter_BC = ends_BC & (jnp.arange(C) < K) & state.open_B[:, None]
    new = Beams(tokens_BCN, jnp.where(enter_BC, scores_BC, NEVER), log_probs_BC, jnp.full((B, C), written, jnp.int32))
    both = jax.tree.map(lambda old, x: jnp.concatenate([old, x], 1), state.ended, new)
    ended = _take(both, jax.lax.top_k(both.scores_BK, K)[1])

    living_BC = jnp.where(ends_BC, NEVER, log_probs_BC)
    log_probs_BK, place_BK = jax.lax.top_k(living_BC, K)
    parent_BK = jnp.take_along_axis(parent_BC, place_BK, 1)
    rows_X = (jnp.arange(B)[:, None] * K + parent_BK).reshape(-1)
    return State(
        written=written,
        tokens_BKN=_take(tokens_BCN, place_BK),
        log_probs_BK=log_probs_BK,
        ended=ended,
        open_B=state.open_B & _may_improve(program, inputs, written, log_probs_BK[:, 0], ended.scores_BK),
        cache=jax.tree.map(lambda x: x[rows_X], state.cache),
        finite=state.finite & jnp.all(jnp.isfinite(hidden_XD)),
    )


def _may_improve(
    program: Search, inputs: Inputs, written: jax.Array, living_B: jax.Array, ended_BK: jax.Array
) -> jax.Array:
    """bool (B,): whether a row's best living text may still get among its ended ones, by `early_stopping`."""
    if program.stop == "full":
        return ~jnp.all(ended_BK > NEVER, 1)
    longest = jnp.where(inputs.alpha > 0, inputs.limit, written)
    hoped_B = living_B / _penalty(program, written if program.stop == "heuristic" else longest, inputs.alpha)
    return hoped_B > (ended_BK[:, 0] if program.stop == "best" else ended_BK[:, -1])


def _penalty(program: Search, length: jax.Array, alpha: Any) -> jax.Array:
    """What a sum of log-probabilities over so many tokens is divided by."""
    n = length.astype(jnp.float32)
    return (n if program.penalty == "length" else (5 + n) / 6) ** alpha


def _take(tree: Any, at_BK: jax.Array) -> Any:
    """The places `at_BK` of leaves (B, C, ...)."""
    return jax.tree.map(lambda x: jnp.take_along_axis(x, at_BK.reshape(at_BK.shape + (1,) * (x.ndim - 2)), 1), tree)
