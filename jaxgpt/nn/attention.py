"""Multi-head, grouped and multi-query attention.

B batch, T queries, S keys, H query heads, G key/value heads, K head width, D model width.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from jaxgpt.nn.cache import KV, extend
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.norm import Norm
from jaxgpt.ops.attention import AttentionDropout, Kernel, Scores, Side
from jaxgpt.ops.patterns import Pattern
from jaxgpt.ops.positions import Biased, Position, Rotated
from jaxgpt.ops.random_masks import row_keys
from jaxgpt.ops.sharding import place
from jaxgpt.spec.inputs import enabled


class Attention(nn.Module):
    """Projects, places, attends, projects back. Parameters `q`, `k`, `v`, `o`; with qk_norm `q_norm`, `k_norm`."""

    num_heads: int
    num_kv_heads: int
    d_head: int
    linears: Linears
    qkv_bias: bool
    o_bias: bool
    kernel: Kernel
    position: Position
    qk_norm: Norm | None
    score_scale: float | None
    soft_cap: float | None
    dropout: float | jax.Array

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, layout: Layout, pattern: Pattern, cache: KV | None, train: bool
    ) -> tuple[jax.Array, KV | None]:
        """(B, T, D) -> (B, T, D), and the cache with this call's keys and values written at `layout.cursor`."""
        q_BHTK = self._heads(x_BTD, self.num_heads, "q")
        k_BGTK = self._heads(x_BTD, self.num_kv_heads, "k")
        v_BGTK = self._heads(x_BTD, self.num_kv_heads, "v")
        if self.qk_norm is not None:
            q_BHTK = self.qk_norm.module("q_norm")(q_BHTK)
            k_BGTK = self.qk_norm.module("k_norm")(k_BGTK)
        if isinstance(self.position, Rotated):
            q_BHTK = self.position.turn(q_BHTK, layout.pos)
            k_BGTK = self.position.turn(k_BGTK, layout.pos)
        if self.score_scale is not None:  # kernels divide by √K
            q_BHTK = q_BHTK * (self.score_scale * self.d_head**0.5)
        k_pos, segment, places = layout.pos, layout.segment, layout.places
        if cache is not None:
            cache, (k_BGTK, v_BGTK), k_pos = extend(cache, KV(k_BGTK, v_BGTK), layout)
            segment, places = None, "any"
        dropout = None
        if train and enabled(self.dropout):
            key = jax.random.key_data(row_keys(self.make_rng("dropout")))
            dropout = AttentionDropout(key, jnp.float32(self.dropout))
        scores = Scores(
            pattern=pattern,
            q=Side(layout.pos, segment),
            k=Side(k_pos, segment),
            position=self.position if isinstance(self.position, Biased) else None,
            table_H=self._table(layout),
            soft_cap=self.soft_cap,
            dropout=dropout,
            places=places,
        )
        o_BHTK = place(self.kernel.attend(q_BHTK, k_BGTK, v_BGTK, scores), "heads")
        o_BTD = rearrange(o_BHTK, "b h t k -> b t (h k)")
        linear = self.linears._replace(bias=self.o_bias)(x_BTD.shape[-1], "o", into_residual=True)
        return linear(o_BTD), cache

    def _heads(self, x_BTD: jax.Array, heads: int, name: str) -> jax.Array:
        y = self.linears._replace(bias=self.qkv_bias)(heads * self.d_head, name)(x_BTD)
        return place(rearrange(y, "b t (h k) -> b h t k", h=heads), "heads")

    def _table(self, layout: Layout) -> jax.Array | None:
        """float32 (H, ...): what a position that biases scores reads."""
        if not isinstance(self.position, Biased):
            return None
        if self.position.trained:
            assert layout.bias_table is not None
            return layout.bias_table
        return jnp.asarray(self.position.table(self.num_heads))
