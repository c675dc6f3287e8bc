"""Which expert takes which token: choices, places in the experts' batches, the ways there and back, and the losses that
keep experts in balance.

Everything here is about one group of tokens that share the experts' places; a layer maps over its groups.
T tokens, D width, E experts, k choices a token, S slots: the places of all experts, or blocks, of C each.
"""

from math import ceil
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Routes(NamedTuple):
    """A token's choices, best first."""

    expert: jax.Array
    """int32 (..., k)."""
    gate: jax.Array
    """float32 (..., k): what each choice's output is multiplied with."""


class Slots(NamedTuple):
    """Which choice sits in which slot. Choice j of token t is number t·k + j."""

    choice_S: jax.Array
    """The choice in a slot; T·k in an empty one."""
    slot_Tk: jax.Array
    """The slot of a choice; S for one that was dropped."""


def route(logits: jax.Array, top_k: int, normalize: bool) -> Routes:
    """float32 (..., E) -> the `top_k` most probable experts. Of equal ones the first counts.

    A gate is the expert's probability (Fedus et al. 2022, equation 2), through which alone the router learns.
    `normalize` divides a token's gates by their sum (Lepikhin et al. 2021, algorithm 1).
    """
    probs = jax.nn.softmax(logits, -1)
    expert = _best(jax.lax.stop_gradient(logits), top_k)
    gate = jnp.take_along_axis(probs, expert, -1)
    return Routes(expert, gate / jnp.sum(gate, -1, keepdims=True) if normalize else gate)


def capacity(tokens: int, experts: int, top_k: int, factor: float) -> int:
    """Places of an expert: `factor` times an even share of the choices, rounded up (Fedus et al. 2022, equation 3).

    At least one, and at most one a token, since nobody chooses an expert twice.
    """
    return max(1, min(tokens, ceil(factor * top_k * tokens / experts - 1e-9)))


def bounded(expert_Tk: jax.Array, experts: int, places: int) -> Slots:
    """Slots e·C to e·C + C − 1 are expert e's; who comes when they are taken is dropped.

    Tokens come in order, each with all its choices, so no token can take a place from an earlier one. GShard seats all
    first choices before any second (algorithm 1), by which a later token's first choice may drop an earlier token's
    second: a language model would see ahead.
    """
    expert_N = expert_Tk.reshape(-1)
    rank_N, _ = _ranks(expert_N, experts)
    slots = experts * places
    return _slots(jnp.where(rank_N < places, expert_N * places + rank_N, slots).reshape(expert_Tk.shape), slots)


def blocked(expert_Tk: jax.Array, experts: int, size: int) -> tuple[Slots, jax.Array]:
    """Slots in as many blocks of `size` for an expert as its choices fill, so nobody is dropped; and each block's
    expert.

    Whoever chooses what, no more than (T·k + E·(size − 1)) / size blocks can be needed, nor more than T·k: that many
    there are, and those at the end may be empty.
    """
    expert_N = expert_Tk.reshape(-1)
    rank_N, count_E = _ranks(expert_N, experts)
    end_E = jnp.cumsum(-(-count_E // size))
    start_E = end_E - -(-count_E // size)
    blocks = min(expert_N.size, (expert_N.size + experts * (size - 1)) // size)
    slots = _slots((start_E[expert_N] * size + rank_N).reshape(expert_Tk.shape), blocks * size)
    before_NE = end_E[None, :] <= jnp.arange(blocks)[:, None]
    return slots, jnp.minimum(jnp.sum(before_NE, 1, dtype=jnp.int32), experts - 1)


def dispatch(x_TD: jax.Array, slots: Slots) -> jax.Array:
    """(T, D) -> (S, D): every token in the slots of its choices; zeros in empty ones."""
    return _move(x_TD, slots.choice_S // slots.slot_Tk.shape[1], slots.slot_Tk)


def combine(y_SD: jax.Array, gate_Tk: jax.Array, slots: Slots) -> jax.Array:
    """(S, D) -> (T, D): the sum over a token's choices, each times its gate. A dropped choice adds nothing."""
    T, k = slots.slot_Tk.shape
    y_TkD = _move(y_SD, slots.slot_Tk.reshape(-1), slots.choice_S[:, None]).reshape(T, k, -1)
    return jnp.sum(y_TkD * gate_Tk[..., None].astype(y_SD.dtype), 1)


def balance(logits_TE: jax.Array, expert_Tk: jax.Array) -> jax.Array:
    """E·Σₑ fₑ·Pₑ: f the experts' shares of the choices, P their mean probability (Fedus et al. 2022, equation 4).

    1 when both are even; E when one expert has all. The gradient runs through P alone.
    """
    E = logits_TE.shape[-1]
    share_E = jnp.mean(jax.nn.one_hot(expert_Tk.reshape(-1), E), 0)
    return E * jnp.sum(share_E * jnp.mean(jax.nn.softmax(logits_TE, -1), 0))


def router_z(logits_TE: jax.Array) -> jax.Array:
    """Mean of log²Z of the router's logits, which keeps them small (Zoph et al. 2022, equation 5)."""
    return jnp.mean(jnp.square(jax.nn.logsumexp(logits_TE, -1)))


def _best(logits: jax.Array, k: int) -> jax.Array:
    """Indices of the k largest, (..., k). XLA splits this over devices; for `lax.top_k` it would gather all rows."""
    chosen = []
    for _ in range(k):
        chosen.append(jnp.argmax(logits, -1))
        taken = chosen[-1][..., None] == jnp.arange(logits.shape[-1])
        logits = jnp.where(taken, -jnp.inf, logits)
    return jnp.stack(chosen, -1)


def _ranks(expert_N: jax.Array, experts: int) -> tuple[jax.Array, jax.Array]:
    """How many before it chose the same expert, (N,); and how many chose each, (E,)."""
    hot_NE = jax.nn.one_hot(expert_N, experts, dtype=jnp.int32)
    seen_NE = jnp.cumsum(hot_NE, 0)
    return jnp.sum(seen_NE * hot_NE, -1) - 1, seen_NE[-1]


def _slots(slot_Tk: jax.Array, slots: int) -> Slots:
    N = slot_Tk.size
    choice_S = jnp.full((slots,), N, jnp.int32).at[slot_Tk.reshape(-1)].set(jnp.arange(N, dtype=jnp.int32), mode="drop")
    return Slots(choice_S, slot_Tk)


@jax.custom_vjp
def _move(x_ND: jax.Array, source_M: jax.Array, targets_Nr: jax.Array) -> jax.Array:
    """Row `source_M` of x at each of M places, zeros where it is N. `targets_Nr` are the places that a row went to (M:
    nowhere), so that the gradient is read from them rather than scattered, which accelerators do slowly."""
    return _rows(x_ND, source_M)


def _forward(x_ND: jax.Array, source_M: jax.Array, targets_Nr: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _rows(x_ND, source_M), targets_Nr


def _backward(targets_Nr: jax.Array, dy_MD: jax.Array) -> tuple[jax.Array, None, None]:
    return jnp.sum(_rows(dy_MD, targets_Nr), 1), None, None


_move.defvjp(_forward, _backward)


def _rows(x_ND: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.take(x_ND, index, axis=0, mode="fill", fill_value=0)
