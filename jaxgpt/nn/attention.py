"""Multi-head, grouped and multi-query attention, to a sequence itself or to another.

B batch, T queries, S keys, H query heads, G key/value heads, K head width, D model width.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from jaxgpt.nn.cache import KV, extend, join
from jaxgpt.nn.layout import Layout, Memory, in_front
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.norm import Norm
from jaxgpt.ops.attention import AttentionDropout, Kernel, Scores, Side
from jaxgpt.ops.patterns import Pattern, with_first
from jaxgpt.ops.positions import Biased, Position, Rotated
from jaxgpt.ops.random_masks import row_keys
from jaxgpt.ops.sharding import constrain
from jaxgpt.spec.inputs import enabled


class Attention(nn.Module):
    """Projects, rotates, attends, projects back. Parameters `q`, `k`, `v`, `o`; with qk_norm `q_norm`, `k_norm`."""

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
        self,
        x_BTD: jax.Array,
        layout: Layout,
        pattern: Pattern,
        cache: KV | None,
        train: bool,
        memory: Memory | None = None,
        bias_H: jax.Array | None = None,
        prefix: KV | None = None,
    ) -> tuple[jax.Array, KV | None]:
        """(B, T, D) -> (B, T, D), and the cache with this call's keys and values written at `layout.cursor`.

        With a memory, its tokens are what the queries see (cross-attention), and its keys and values are returned as
        the cache. A memory without states is read from the cache. `bias_H` is what the
        `bias` of a position that biases scores reads. `prefix`: keys and values (G, n, K) at the positions before the
        first token's, which all tokens see."""
        q_BHTK = self._turned(self._heads(x_BTD, self.num_heads, "q"), "q_norm", layout.pos)
        if self.score_scale is not None:  # kernels divide by √K
            q_BHTK = q_BHTK * (self.score_scale * self.d_head**0.5)
        q, k, numbering = Side(layout.pos, layout.segment), Side(layout.pos, layout.segment), layout.numbering
        if memory is not None:
            cache = cache if memory.states is None else self._keys_and_values(memory.states, memory.pos)
            assert cache is not None
            seen, k, numbering = cache, Side(memory.pos, memory.segment), "any"
        else:
            seen = self._keys_and_values(x_BTD, layout.pos)
            if cache is not None:
                cache, seen, k_pos = extend(cache, seen, layout, prefix)
                k, numbering = Side(k_pos), "any"
            elif prefix is not None:  # queries for it too: then positions are indices, by which kernels skip blocks
                seen, q = join(prefix, seen), in_front(q, layout.virtual)
                k, q_BHTK = q, jnp.pad(q_BHTK, ((0, 0), (0, 0), (layout.virtual, 0), (0, 0)))
        if q.segment is None or k.segment is None:
            q, k = Side(q.pos), Side(k.pos)
        dropout = None
        if train and enabled(self.dropout):
            key = jax.random.key_data(row_keys(self.make_rng("dropout")))
            dropout = AttentionDropout(key, jnp.float32(self.dropout))
        scores = Scores(
            pattern=pattern if prefix is None else with_first(pattern, layout.virtual),
            q=q,
            k=k,
            position=self.position if isinstance(self.position, Biased) else None,
            table_H=bias_H,
            soft_cap=self.soft_cap,
            dropout=dropout,
            numbering=numbering,
        )
        o_BHTK = constrain(self.kernel.attend(q_BHTK, seen.k, seen.v, scores), "heads")
        o_BTD = rearrange(o_BHTK[:, :, -x_BTD.shape[1] :], "b h t k -> b t (h k)")
        project = self.linears(x_BTD.shape[-1], "o", into_residual=True, bias=self.o_bias)
        return project(o_BTD), cache

    def _keys_and_values(self, x_BSD: jax.Array, pos: jax.Array) -> KV:
        k_BGSK = self._turned(self._heads(x_BSD, self.num_kv_heads, "k"), "k_norm", pos)
        return KV(k_BGSK, self._heads(x_BSD, self.num_kv_heads, "v"))

    def _turned(self, x_BHTK: jax.Array, norm: str, pos: jax.Array) -> jax.Array:
        """Queries or keys normalised and turned by their positions, where heads are."""
        x_BHTK = x_BHTK if self.qk_norm is None else self.qk_norm.module(norm)(x_BHTK)
        return self.position.turn(x_BHTK, pos) if isinstance(self.position, Rotated) else x_BHTK

    def _heads(self, x_BTD: jax.Array, heads: int, name: str) -> jax.Array:
        y = self.linears(heads * self.d_head, name, bias=self.qkv_bias)(x_BTD)
        return constrain(rearrange(y, "b t (h k) -> b h t k", h=heads), "heads")
