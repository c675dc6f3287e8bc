"""Multi-head, grouped and multi-query attention.

B batch, T queries, S keys, H query heads, G key/value heads, K head width, D model width.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax import lax

from jaxgpt.nn.layout import KV, Layout
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.norm import Norm
from jaxgpt.ops.attention import Kernel, Scores
from jaxgpt.ops.patterns import Pattern
from jaxgpt.ops.positions import Biased, Position, Rotated


class Attention(nn.Module):
    """Projects, places, attends, projects back. Parameters `q`, `k`, `v`, `o`; with qk_norm `q_norm`, `k_norm`."""

    num_heads: int
    num_kv_heads: int
    d_head: int
    linears: Linears
    kernel: Kernel
    position: Position
    qk_norm: Norm | None
    soft_cap: float | None
    dropout: float

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, layout: Layout, pattern: Pattern, cache: KV | None, train: bool
    ) -> tuple[jax.Array, KV | None]:
        """(B, T, D) -> (B, T, D), and the cache with this call's keys and values written at `layout.slot`."""
        q_BHTK = self._heads(x_BTD, self.num_heads, "q")
        k_BGTK = self._heads(x_BTD, self.num_kv_heads, "k")
        v_BGTK = self._heads(x_BTD, self.num_kv_heads, "v")
        if self.qk_norm is not None:
            q_BHTK = self.qk_norm.module("q_norm")(q_BHTK)
            k_BGTK = self.qk_norm.module("k_norm")(k_BGTK)
        if isinstance(self.position, Rotated):
            q_BHTK = self.position.rotate(q_BHTK, layout.pos)
            k_BGTK = self.position.rotate(k_BGTK, layout.pos)
        k_pos, k_segment = layout.pos, layout.segment
        if cache is not None:
            assert layout.slot is not None and layout.slot_pos is not None
            cache = KV(_write(cache.k, k_BGTK, layout.slot), _write(cache.v, v_BGTK, layout.slot))
            k_BGTK, v_BGTK = cache
            k_pos, k_segment = layout.slot_pos, None
        scores = Scores(
            pattern=pattern,
            q_pos=layout.pos,
            k_pos=k_pos,
            q_segment=None if cache is not None else layout.segment,
            k_segment=k_segment,
            bias=self.position.bias(self.num_heads, layout.pos, k_pos) if isinstance(self.position, Biased) else None,
            soft_cap=self.soft_cap,
            dropout=self.dropout,
            dropout_key=self.make_rng("dropout") if train and self.dropout > 0 else None,
        )
        o_BHTK = self.kernel.attend(q_BHTK, k_BGTK, v_BGTK, scores)
        o_BTD = rearrange(o_BHTK, "b h t k -> b t (h k)")
        return self.linears(x_BTD.shape[-1], "o", into_residual=True)(o_BTD), cache

    def _heads(self, x_BTD: jax.Array, heads: int, name: str) -> jax.Array:
        y = self.linears(heads * self.d_head, name)(x_BTD)
        return rearrange(y, "b t (h k) -> b h t k", h=heads)


def _write(held_BGSK: jax.Array, new_BGTK: jax.Array, slot: jax.Array) -> jax.Array:
    zero = jnp.zeros((), slot.dtype)
    return lax.dynamic_update_slice(held_BGSK, new_BGTK.astype(held_BGSK.dtype), (zero, zero, slot, zero))
