"""Plain softmax attention: any pattern, any bias, dropout, any backend. The kernel that all others are held against.

Written for XLA:CPU too: operands stay (B, H, T, K) and of rank four, query groups folded into T.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.ops.attention.kernel import Kernel, Scores

LOWEST = np.float32(-0.7 * np.finfo(np.float32).max)


def visible(scores: Scores) -> jax.Array:
    """bool (T, S) or (B, T, S): pattern, empty keys and segments together."""
    q, k = scores.q_pos[..., :, None], scores.k_pos[..., None, :]
    mask = scores.pattern.allows(q, k) & (k >= 0)
    if scores.q_segment is not None and scores.k_segment is not None:
        mask = mask & (scores.q_segment[..., :, None] == scores.k_segment[..., None, :])
    return mask


class Reference(Kernel):
    """Materialises the (T, S) scores; softmax in float32."""

    citation = "Vaswani et al. 2017, section 3.2.1"

    def attend(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores) -> jax.Array:
        """See Kernel.attend. Memory grows with T·S."""
        B, H, T, K = q_BHTK.shape
        G, S = k_BGSK.shape[1:3]
        q = (q_BHTK * K**-0.5).reshape(B, G, (H // G) * T, K)
        s_BHTS = jnp.einsum("bgtk,bgsk->bgts", q, k_BGSK, preferred_element_type=jnp.float32).reshape(B, H, T, S)
        if scores.soft_cap is not None:
            s_BHTS = scores.soft_cap * jnp.tanh(s_BHTS / scores.soft_cap)
        if scores.bias is not None:
            s_BHTS = s_BHTS + scores.bias
        mask = jnp.expand_dims(visible(scores), -3)
        w_BHTS = jax.nn.softmax(jnp.where(mask, s_BHTS, LOWEST))
        w_BHTS = jnp.where(jnp.any(mask, -1, keepdims=True), w_BHTS, 0.0)  # a row without a key would average all
        if scores.dropout_key is not None and scores.dropout > 0:
            keep = jax.random.bernoulli(scores.dropout_key, 1 - scores.dropout, w_BHTS.shape)
            w_BHTS = jnp.where(keep, w_BHTS / (1 - scores.dropout), 0.0)
        w = w_BHTS.astype(v_BGSK.dtype).reshape(B, G, (H // G) * T, S)
        return jnp.einsum("bgts,bgsk->bgtk", w, v_BGSK).reshape(B, H, T, K)
