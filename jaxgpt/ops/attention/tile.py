"""The scores of some queries against some keys: what every kernel of our own computes, for a tile or for all at once.

B batch, T queries, S keys, H query heads, G key/value heads, K head width.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.ops.attention.scores import SHARED, AttentionDropout, Operands, Rule, Side

LOWEST = np.float32(-0.7 * np.finfo(np.float32).max)
"""The score of a pair that is not allowed."""
FLOOR = np.float32(-1e30)
"""The least row maximum: exp(LOWEST - FLOOR) is 0, so a row that sees nothing has only zero weights."""
NEVER = np.float32(1e38)
"""The log-sum of a row that is not there, in the backward pass: exp(score - NEVER) is 0."""
TINY = np.float32(1e-37)
"""The least sum of weights: dividing by it and taking its logarithm are both finite."""


def visible(allows: Callable[[Any, Any], Any], q: Side, k: Side) -> jax.Array:
    """bool (T, S) or (B, T, S): pattern, empty keys and segments together."""
    q_pos, k_pos = q.pos[..., :, None], k.pos[..., None, :]
    mask = allows(q_pos, k_pos) & (k_pos >= 0)
    if q.segment is not None and k.segment is not None:
        of_key = k.segment[..., None, :]
        mask = mask & ((q.segment[..., :, None] == of_key) | (of_key == SHARED))
    return mask


def tile_scores(rule: Rule, x: Operands) -> tuple[jax.Array, jax.Array | None]:
    """float32 (B, H, T, S): scaled products, capped, biased, LOWEST where not allowed; and the cap's derivative."""
    B, H, T, K = x.q_BHTK.shape
    grouped, slope = fold(x.q_BHTK * K**-0.5, x.k_BGSK), None
    s_BHTS = jnp.einsum("bgtk,bgsk->bgts", grouped, x.k_BGSK, preferred_element_type=jnp.float32)
    s_BHTS = s_BHTS.reshape(B, H, T, x.k_BGSK.shape[2])
    if rule.soft_cap is not None:
        unit = jnp.tanh(s_BHTS / rule.soft_cap)
        s_BHTS, slope = rule.soft_cap * unit, 1 - jnp.square(unit)
    if rule.position is not None and x.table_H is not None:
        s_BHTS = s_BHTS + rule.position.bias(x.table_H, x.q_side.pos, x.k_side.pos)
    return jnp.where(jnp.expand_dims(visible(rule.allows, x.q_side, x.k_side), -3), s_BHTS, LOWEST), slope


Gradients = tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]
"""Of queries, keys, values and, where it is trained, the table; float32 unless said otherwise."""


class Known(NamedTuple):
    """What the backward pass knows of the queries of a tile."""

    do: jax.Array
    """(B, H, T, K): the output's gradient."""
    log_sum: jax.Array
    """float32 (B, H, T): log Σ exp of all the scores of a query; NEVER where there are none."""
    delta: jax.Array
    """float32 (B, H, T): Σ do·o."""

    @classmethod
    def of(cls, do: jax.Array, out: jax.Array, log_sum: jax.Array) -> "Known":
        """Made from the output's gradient, and the output and log-sums of the forward pass."""
        delta = jnp.sum(do.astype(jnp.float32) * out.astype(jnp.float32), -1)
        return cls(do, jnp.where(log_sum > FLOOR, log_sum, NEVER), delta)


def tile_back(rule: Rule, x: Operands, known: Known, keep_BHTS: jax.Array | None) -> Gradients:
    """A tile's share of the gradients (Dao et al. 2022, algorithm 4).

    The weights are recomputed from the log-sums; `keep` is the dropout mask that the forward pass used, if any.
    """
    s_BHTS, slope = tile_scores(rule, x)
    w_BHTS = jnp.exp(s_BHTS - known.log_sum[..., None])
    dw_BHTS, dv = mix_back(w_BHTS if keep_BHTS is None else w_BHTS * keep_BHTS, known.do, x.v_BGSK)
    ds_BHTS = w_BHTS * ((dw_BHTS if keep_BHTS is None else dw_BHTS * keep_BHTS) - known.delta[..., None])
    dq, dk, d_table = tile_scores_back(rule, ds_BHTS, slope, x)
    return dq, dk, dv, d_table


def tile_scores_back(
    rule: Rule, ds_BHTS: jax.Array, slope_BHTS: jax.Array | None, x: Operands
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Gradients of `tile_scores` for queries, keys and table, float32; `ds` is 0 where not allowed."""
    B, H, T, K = x.q_BHTK.shape
    d_table = None
    if rule.position is not None and rule.position.trained:
        add = rule.position.bias
        bias, pull = jax.vjp(lambda table: add(table, x.q_side.pos, x.k_side.pos), x.table_H)
        (d_table,) = pull(ds_BHTS.sum(0) if bias.ndim == 3 else ds_BHTS)
    if slope_BHTS is not None:
        ds_BHTS = ds_BHTS * slope_BHTS
    ds = fold((ds_BHTS * K**-0.5).astype(x.q_BHTK.dtype), x.k_BGSK)
    dq_BGTK = jnp.einsum("bgts,bgsk->bgtk", ds, x.k_BGSK, preferred_element_type=jnp.float32)
    dk_BGSK = jnp.einsum("bgts,bgtk->bgsk", ds, fold(x.q_BHTK, x.k_BGSK), preferred_element_type=jnp.float32)
    return dq_BGTK.reshape(B, H, T, K), dk_BGSK, d_table


def fold(x_BHTX: jax.Array, k_BGSK: jax.Array) -> jax.Array:
    """(B, H, T, X) -> (B, G, H/G·T, X): the queries of a group, one after the other."""
    B, H, T, X = x_BHTX.shape
    G = k_BGSK.shape[1]
    return x_BHTX.reshape(B, G, (H // G) * T, X)


def mix(w_BHTS: jax.Array, v_BGSK: jax.Array) -> jax.Array:
    """float32 (B, H, T, K): weights, in the values' dtype, times values."""
    w = fold(w_BHTS.astype(v_BGSK.dtype), v_BGSK)
    o_BGTK = jnp.einsum("bgts,bgsk->bgtk", w, v_BGSK, preferred_element_type=jnp.float32)
    return o_BGTK.reshape(*w_BHTS.shape[:3], v_BGSK.shape[3])


def mix_back(w_BHTS: jax.Array, do_BHTK: jax.Array, v_BGSK: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients of `mix` for the weights, float32 (B, H, T, S), and for the values, float32 (B, G, S, K)."""
    w, do = (fold(x.astype(v_BGSK.dtype), v_BGSK) for x in (w_BHTS, do_BHTK))
    dw = jnp.einsum("bgtk,bgsk->bgts", do, v_BGSK, preferred_element_type=jnp.float32)
    return dw.reshape(w_BHTS.shape), jnp.einsum("bgts,bgtk->bgsk", w, do, preferred_element_type=jnp.float32)


def cotangents(x: Operands, gradients: Gradients) -> Operands:
    """What a backward pass gives for its operands: gradients in their dtypes, 0 for a table that is a constant, and
    nothing for positions, segments and the keys of dropout."""
    nothing: Any = lambda leaf: np.zeros(leaf.shape, jax.dtypes.float0)  # noqa: E731
    *grads, d_table = gradients
    if d_table is None and x.table_H is not None:
        d_table = jnp.zeros_like(x.table_H)
    dq, dk, dv = (grad.astype(leaf.dtype) for grad, leaf in zip(grads, x[:3], strict=True))
    q_side, k_side = jax.tree.map(nothing, (x.q_side, x.k_side))
    if (dropout := x.dropout) is not None:
        dropout = AttentionDropout(nothing(dropout.key), jnp.zeros_like(dropout.rate))
    return Operands(dq, dk, dv, d_table, q_side, k_side, dropout)
