"""A cell over time. B rows, T tokens, H units, X = gates · units.

The backward pass sums the gradient of the state's matrix in one product over all tokens and rows, where the transpose
of a scan would add up T of the matrix's size.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgpt.ops.cells import Cell, State


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(
    cell: Cell, token_TBX: jax.Array, w_HX: jax.Array, bias_X: jax.Array, start: State, begins_TB: jax.Array | None
) -> tuple[State, State]:
    """All states (T, B, H) and the last, from the state `start`. `bias_X` is added to what the state contributes. Where
    `begins_TB`, bool, the state before is zero: a document begins.

    All is float32 but `w_HX`, in whose dtype products are taken.
    """
    return _forward(cell, token_TBX, w_HX, bias_X, start, begins_TB)[0]


Saved = tuple[jax.Array, jax.Array, jax.Array, State, State, jax.Array | None]


def _forward(
    cell: Cell, token_TBX: jax.Array, w_HX: jax.Array, bias_X: jax.Array, start: State, begins_TB: jax.Array | None
) -> tuple[tuple[State, State], Saved]:
    def token(state: State, given: tuple[jax.Array, jax.Array | None]) -> tuple[State, State]:
        token_BX, begins_B = given
        state = _restarted(state, begins_B)
        state = cell.step(token_BX, _contributed(state[0], w_HX, bias_X), state)
        return state, state

    last, states = lax.scan(token, start, (token_TBX, begins_TB))
    return (states, last), (token_TBX, w_HX, bias_X, start, states, begins_TB)


def _backward(
    cell: Cell, saved: Saved, gradients: tuple[State, State]
) -> tuple[jax.Array, jax.Array, jax.Array, State, None]:
    token_TBX, w_HX, bias_X, start, states, begins_TB = saved
    d_states, d_last = gradients
    before = tuple(jnp.concatenate([first[None], x[:-1]]) for first, x in zip(start, states, strict=True))
    before = _restarted(before, begins_TB)
    before_TBX = _contributed(before[0], w_HX, bias_X)

    def token(d_after: State, given: tuple[jax.Array, jax.Array, State, State, jax.Array | None]) -> tuple[State, Any]:
        token_BX, before_BX, state, d_state, begins_B = given
        d_after = tuple(a + b for a, b in zip(d_after, d_state, strict=True))
        d_token_BX, d_before_BX, d = jax.vjp(cell.step, token_BX, before_BX, state)[1](d_after)
        d = (d[0] + (d_before_BX.astype(w_HX.dtype) @ w_HX.T).astype(jnp.float32), *d[1:])
        return _restarted(d, begins_B), (d_token_BX, d_before_BX)

    given = token_TBX, before_TBX, before, d_states, begins_TB
    d_start, (d_token_TBX, d_before_TBX) = lax.scan(token, d_last, given, reverse=True)
    h_NH, d_NX = (x.reshape(-1, x.shape[-1]) for x in (before[0], d_before_TBX))
    d_w_HX = lax.dot_general(h_NH.astype(w_HX.dtype), d_NX.astype(w_HX.dtype), (((0,), (0,)), ((), ())))
    return d_token_TBX, d_w_HX, d_NX.sum(0), d_start, None


recur.defvjp(_forward, _backward)


def recur_apart(
    cell: Cell,
    token_TBX: jax.Array,
    w_HX: jax.Array,
    bias_X: jax.Array,
    start: State,
    real_TB: jax.Array,
    shared_TB: jax.Array,
    begins_TB: jax.Array,
) -> tuple[State, State]:
    """The same where rows hold tokens that are nobody's, and texts that begin alike: not `real_TB`, a token leaves the
    state as it is; where `begins_TB`, the state before is that after the last `shared_TB` token, or zero. No gradient
    is written out."""

    def token(carry: tuple[State, State], given: tuple[jax.Array, ...]) -> tuple[tuple[State, State], State]:
        (state, common), (token_BX, real_B, shared_B, begins_B) = carry, given
        state = _where(begins_B, common, state)
        after = cell.step(token_BX, _contributed(state[0], w_HX, bias_X), state)
        state = _where(real_B, after, state)
        return (state, _where(shared_B & real_B, state, common)), state

    zero = jax.tree.map(jnp.zeros_like, start)
    (last, _), states = lax.scan(token, (start, zero), (token_TBX, real_TB, shared_TB, begins_TB))
    return states, last


def _contributed(h: jax.Array, w_HX: jax.Array, bias_X: jax.Array) -> jax.Array:
    return (h.astype(w_HX.dtype) @ w_HX).astype(jnp.float32) + bias_X


def _restarted(state: State, begins: jax.Array | None) -> State:
    if begins is None:
        return state
    return tuple(jnp.where(begins[..., None], jnp.zeros((), x.dtype), x) for x in state)


def _where(mask_B: jax.Array, a: State, b: State) -> State:
    return tuple(jnp.where(mask_B[:, None], x, y) for x, y in zip(a, b, strict=True))
