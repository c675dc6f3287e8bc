"""Plain softmax attention: any pattern, any bias, dropout, any backend. The kernel that all others are held against."""

import jax
import jax.numpy as jnp

from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.scores import Scores
from jaxgpt.ops.attention.tile import LOWEST, mix, tile_scores


class Reference(Kernel):
    """Materialises the (T, S) scores; softmax in float32."""

    citation = "Vaswani et al. 2017, section 3.2.1"

    def refusal(self, case: Case) -> str | None:
        """None: it computes every case."""
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention by the whole (B, H, T, S) array of scores: memory grows with T·S."""
        s_BHTS, _ = tile_scores(scores.rule, scores.operands(q_BHTK, k_BGSK, v_BGSK))
        w_BHTS = jax.nn.softmax(s_BHTS)
        # A row without a key would average all of them.
        w_BHTS = jnp.where(jnp.max(s_BHTS, -1, keepdims=True) > LOWEST, w_BHTS, 0.0)
        if scores.dropout is not None:
            w_BHTS = w_BHTS * scores.dropout.keep(w_BHTS.shape)
        return mix(w_BHTS, v_BGSK).astype(q_BHTK.dtype)
