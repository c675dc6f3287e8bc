"""Plain softmax attention: any pattern, any bias, dropout, any backend. The kernel that all others are held against."""

import jax
import jax.numpy as jnp

from jaxgpt.ops.attention.kernel import Case, Kernel, Scores
from jaxgpt.ops.attention.tile import LOWEST, keep_mask, mix, rule_of, sides, table_of, tile_scores
from jaxgpt.ops.setting import on


class Reference(Kernel):
    """Materialises the (T, S) scores; softmax in float32."""

    citation = "Vaswani et al. 2017, section 3.2.1"

    def refusal(self, case: Case) -> str | None:
        """Never."""
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores) -> jax.Array:
        """See Kernel.attend. Memory grows with T·S."""
        s_BHTS, _ = tile_scores(rule_of(scores), q_BHTK, k_BGSK, table_of(scores.bias), *sides(scores))
        w_BHTS = jax.nn.softmax(s_BHTS)
        # A row without a key would average all of them.
        w_BHTS = jnp.where(jnp.max(s_BHTS, -1, keepdims=True) > LOWEST, w_BHTS, 0.0)
        if scores.dropout_key is not None and on(scores.dropout):
            w_BHTS = w_BHTS * keep_mask(scores.dropout_key, scores.dropout, w_BHTS.shape)
        return mix(w_BHTS, v_BGSK).astype(q_BHTK.dtype)
