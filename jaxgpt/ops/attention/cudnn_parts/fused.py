"""One attention call and its backward pass by cuDNN, with what the public function hides: the float32 log-sums.

`jax.nn.dot_product_attention(return_residual=True)` rounds log-sums to the queries' dtype and lets no gradient through
them. Underneath it are two primitives. The first gives float32 (B, H, T), max + log Σ exp of the scaled scores, natural
logarithm (cuDNN's backward graph recomputes exp(scale·qk − stats)); the second takes output and log-sums as arguments,
and so takes those of all calls together (Liu et al. 2023, section 3).

B batch, T queries, S keys, H query heads, G key/value heads, K head width.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from jaxgpt.ops.attention.cudnn_parts import plain
from jaxgpt.ops.patterns import Mask

library: Any
try:
    from jax._src.cudnn import fused_attention_stablehlo as library
except ImportError:  # private: `missing` says so where it is needed
    library = None

FEWEST, MOST_HEADS = 32, 65535
"""Queries or keys below which, and rows or heads above which, a call is written out instead. cuDNN takes two or more of
the former from version 9.0 on, but computes whole tiles; more of the latter no grid holds (PyTorch's
`check_cudnn_tensor_shapes`)."""


def missing() -> str | None:
    """What this jax lacks of cuDNN's primitives as they are called here (0.10.2 to 0.12.0); None: nothing."""
    wanted = "_dot_product_attention_fwd_p_wrapper", "_dot_product_attention_bwd_p_wrapper", "MaskType"
    return next((name for name in wanted if not hasattr(library, name)), None)


def forward(
    q_BTHK: jax.Array, k_BSGK: jax.Array, v_BSGK: jax.Array, mask: Mask, fused: bool
) -> tuple[jax.Array, jax.Array]:
    """Output (B, T, H, K) in the queries' dtype, and log Σ exp of each query's scores, float32 (B, H, T).

    `fused`: by cuDNN, which needs a GPU and 16 bits; else the same written out. Every query must see a key.
    """
    if not (fused and _fits(q_BTHK, k_BSGK)):
        return plain.forward(q_BTHK, k_BSGK, v_BSGK, mask)
    unused = [jnp.zeros(0, q_BTHK.dtype)] * 7
    bind = library._dot_product_attention_fwd_p_wrapper.bind
    out, log_sum = bind(q_BTHK, k_BSGK, v_BSGK, *unused, **_options(q_BTHK, mask), is_training=True)
    return out, log_sum


def backward(
    q_BTHK: jax.Array,
    k_BSGK: jax.Array,
    v_BSGK: jax.Array,
    o_BTHK: jax.Array,
    log_sum_BHT: jax.Array,
    do_BTHK: jax.Array,
    mask: Mask,
    fused: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What a call adds to the gradients of queries, keys and values, in their dtypes; output and log-sums are those of
    all the keys that a query sees, in this call or another."""
    if not (fused and _fits(q_BTHK, k_BSGK)):
        return plain.backward(q_BTHK, k_BSGK, v_BSGK, o_BTHK, log_sum_BHT, do_BTHK, mask)
    unused = [jnp.zeros(0, q_BTHK.dtype)] * 7
    bind = library._dot_product_attention_bwd_p_wrapper.bind
    known = log_sum_BHT, o_BTHK, do_BTHK
    dq, dk, dv = bind(q_BTHK, k_BSGK, v_BSGK, *unused, *known, **_options(q_BTHK, mask))
    return dq, dk, dv


def _fits(q_BTHK: jax.Array, k_BSGK: jax.Array) -> bool:
    B, T, H, _ = q_BTHK.shape
    return min(T, k_BSGK.shape[1]) >= FEWEST and max(B, H) <= MOST_HEADS


def _options(q_BTHK: jax.Array, mask: Mask) -> dict[str, Any]:
    """The static parameters of a call, for both primitives."""
    options = {
        "scale": q_BTHK.shape[3] ** -0.5,
        "seed": 0,
        "dropout_rate": 0.0,
        "variadic_args": (False, False),  # no bias, no gradient of it
        "mask_type": library.MaskType.CAUSAL if mask.causal else library.MaskType.NO_MASK,
        "layout": library.AttentionLayout.BTNH.value,
        "sliding_window_length": mask.window,
    }
    takes_score_mod = "score_mod" in inspect.signature(library._dot_product_attention_fwd_impl).parameters  # jax 0.12
    return options | ({"score_mod": None} if takes_score_mod else {})
