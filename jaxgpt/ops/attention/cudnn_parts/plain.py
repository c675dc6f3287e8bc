"""What `fused` computes, written out: for calls that are too small for cuDNN, and for machines without it.

B batch, T queries, S keys, H query heads, G key/value heads, R query heads a group, K head width.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.ops.attention.tile import LOWEST
from jaxgpt.ops.patterns import Mask


def forward(q_BTHK: jax.Array, k_BSGK: jax.Array, v_BSGK: jax.Array, mask: Mask) -> tuple[jax.Array, jax.Array]:
    """See `fused.forward`."""
    B, T, H, _ = q_BTHK.shape
    s_BGRTS = _scores(q_BTHK, k_BSGK, mask)
    top = jnp.max(s_BGRTS, -1, keepdims=True)
    e_BGRTS = jnp.exp(s_BGRTS - top)
    total = jnp.sum(e_BGRTS, -1, keepdims=True)
    o_BGRTK = _product("bgrts,bsgk->bgrtk", e_BGRTS.astype(v_BSGK.dtype), v_BSGK) / total
    o_BTHK = jnp.moveaxis(o_BGRTK, 3, 1).reshape(q_BTHK.shape)
    return o_BTHK.astype(q_BTHK.dtype), (top + jnp.log(total)).reshape(B, H, T)


def backward(
    q_BTHK: jax.Array,
    k_BSGK: jax.Array,
    v_BSGK: jax.Array,
    o_BTHK: jax.Array,
    log_sum_BHT: jax.Array,
    do_BTHK: jax.Array,
    mask: Mask,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """See `fused.backward`."""
    B, T, H, K = q_BTHK.shape
    G = k_BSGK.shape[2]
    do_BTGRK = do_BTHK.reshape(B, T, G, H // G, K)
    log_sum = log_sum_BHT.reshape(B, G, H // G, T, 1)
    w_BGRTS = jnp.exp(_scores(q_BTHK, k_BSGK, mask) - log_sum)
    dv_BSGK = _product("bgrts,btgrk->bsgk", w_BGRTS.astype(do_BTHK.dtype), do_BTGRK)
    dw_BGRTS = _product("btgrk,bsgk->bgrts", do_BTGRK, v_BSGK)
    delta_BTH = jnp.sum(do_BTHK.astype(jnp.float32) * o_BTHK.astype(jnp.float32), -1)
    delta = jnp.moveaxis(delta_BTH, 1, 2).reshape(log_sum.shape)
    ds_BGRTS = (w_BGRTS * (dw_BGRTS - delta) * K**-0.5).astype(q_BTHK.dtype)
    dq_BTHK = _product("bgrts,bsgk->btgrk", ds_BGRTS, k_BSGK).reshape(q_BTHK.shape)
    dk_BSGK = _product("bgrts,btgrk->bsgk", ds_BGRTS, q_BTHK.reshape(do_BTGRK.shape))
    return dq_BTHK.astype(q_BTHK.dtype), dk_BSGK.astype(k_BSGK.dtype), dv_BSGK.astype(v_BSGK.dtype)


def _scores(q_BTHK: jax.Array, k_BSGK: jax.Array, mask: Mask) -> jax.Array:
    """float32 (B, G, R, T, S): scaled products, LOWEST where the mask forbids."""
    B, T, H, K = q_BTHK.shape
    S, G = k_BSGK.shape[1:3]
    s_BGRTS = _product("btgrk,bsgk->bgrts", q_BTHK.reshape(B, T, G, H // G, K), k_BSGK) * K**-0.5
    return jnp.where(mask.allows(np.arange(T)[:, None], np.arange(S)[None, :]), s_BGRTS, LOWEST)


def _product(equation: str, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)
