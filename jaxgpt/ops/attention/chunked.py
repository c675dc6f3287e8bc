"""Exact attention without a (T, S) array, forward or backward: FlashAttention's algorithm on any backend.

Queries go block by block over the keys with an online softmax (Dao et al. 2022, algorithms 1 and 4; Milakov &
Gimelshein 2018). Where positions are known while compiling, key blocks before the first and after the last that a
pattern keeps are not visited. B batch, T queries, S keys, H query heads, G key/value heads, K head width.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgpt.ops.attention.blocks import block_at, blocks, join, side_blocks
from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.scores import AttentionDropout, Rule, Scores, Side
from jaxgpt.ops.attention.tile import FLOOR, NEVER, TINY, Known, cotangents, mix, tile_back, tile_scores
from jaxgpt.ops.patterns import Arrangement, Pattern, is_relative, kept_blocks
from jaxgpt.spec.sizes import Length

IN_CACHE = 2**18
"""Scores of one step that stay in a CPU's cache."""


class Chunked(Kernel):
    """Online softmax over blocks of keys: any pattern, bias, soft cap, dropout, cache; memory linear in the length."""

    citation = "Dao et al. 2022 (FlashAttention), algorithms 1 and 4; Rabe & Staats 2021"
    queries: Length | None = None
    """Queries at once. None: 128 or 256 on a CPU, so that scores stay in its cache; all of them on an accelerator."""
    keys: Length | None = None
    """Keys at once. None: 128 to 512 on a CPU, 512 on an accelerator."""

    def refusal(self, case: Case) -> str | None:
        """None: it computes every case."""
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention block by block; key blocks that the pattern leaves empty at both ends are skipped."""
        B, H, T, _ = q_BHTK.shape
        S = k_BGSK.shape[2]
        block_q, block_k = self.sizes(B * H, T, S, case.platform)
        if case.blocks_known and T == S:
            first, last = _bounds(scores.pattern, T, block_q, block_k)
        else:
            first, last = np.zeros(-(-T // block_q), np.int32), np.full(-(-T // block_q), -(-S // block_k), np.int32)
        tiling = Tiling(block_q, block_k, first, last, scores.rule)
        return _attend(tiling, q_BHTK, k_BGSK, v_BGSK, scores.table_H, (scores.q, scores.k), scores.dropout)

    def sizes(self, heads: int, queries: int, keys: int, platform: str) -> tuple[int, int]:
        """Queries and keys at once, where so many heads (of all rows) have so many of both."""
        cpu = platform == "cpu"
        block_q = min(self.queries or ((256 if heads <= 4 else 128) if cpu else queries), queries)
        block_k = min(self.keys or (max(128, min(512, IN_CACHE // (heads * block_q))) if cpu else 512), keys)
        return block_q, block_k


class Tiling(NamedTuple):
    """How queries meet keys: query block i visits key blocks first[i] up to last[i]."""

    block_q: int
    block_k: int
    first: np.ndarray | jax.Array
    last: np.ndarray | jax.Array
    """int32 (query blocks,)."""
    rule: Rule


@lru_cache(maxsize=64)
def _bounds(pattern: Pattern, length: int, block_q: int, block_k: int) -> tuple[np.ndarray, np.ndarray]:
    row = np.arange(length, dtype=np.int32)
    needed = kept_blocks(Arrangement(pattern.allows, row, row, is_relative(pattern)), block_q, block_k)
    any_needed = needed.any(1)
    first = np.where(any_needed, needed.argmax(1), 0)
    last = np.where(any_needed, needed.shape[1] - needed[:, ::-1].argmax(1), 0)
    return first.astype(np.int32), last.astype(np.int32)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(tiling: Tiling, q: Any, k: Any, v: Any, table: Any, sides: tuple[Side, Side], dropout: Any) -> jax.Array:
    return forward(tiling, q, k, v, table, sides, dropout, q.dtype)[0]


def _forward(tiling: Tiling, q: Any, k: Any, v: Any, table: Any, sides: Any, dropout: Any) -> tuple[jax.Array, Any]:
    out, log_sum = forward(tiling, q, k, v, table, sides, dropout, q.dtype)
    return out, (q, k, v, table, sides, dropout, out, log_sum)


def _backward(tiling: Tiling, saved: Any, do: jax.Array) -> tuple[Any, ...]:
    q, k, v, table, sides, dropout, out, log_sum = saved
    known = Known.of(do, out, log_sum)
    dq, dk, dv, d_table = backward(tiling, q, k, v, table, sides, dropout, known, q.dtype)
    return dq, dk.astype(k.dtype), dv.astype(v.dtype), *cotangents(table, d_table, sides, dropout)


_attend.defvjp(_forward, _backward)


def forward(
    tiling: Tiling,
    q: Any,
    k: Any,
    v: Any,
    table: Any,
    sides: tuple[Side, Side],
    dropout: AttentionDropout | None,
    dtype: Any,
) -> tuple[jax.Array, jax.Array]:
    """Output (B, H, T, K) in `dtype`, and log Σ exp of each query's scores, float32 (B, H, T): by the log-sums the
    outputs for several sets of keys are joined."""
    T = q.shape[2]
    keys = _keys(tiling, k, v, sides[1])

    def row(_: None, x: Any) -> tuple[None, tuple[jax.Array, jax.Array]]:
        number, first, last, q_BHTK, side = x

        def visit(j: jax.Array, so_far: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            out, top, total = so_far
            k_BGSK, v_BGSK, k_side = block_at(keys, j)
            s, _ = tile_scores(tiling.rule, q_BHTK, k_BGSK, table, side, k_side)
            new_top = jnp.maximum(top, jnp.max(s, -1, keepdims=True))
            w, shrink = jnp.exp(s - new_top), jnp.exp(top - new_top)
            total = total * shrink + jnp.sum(w, -1, keepdims=True)
            w = w if dropout is None else w * dropout.folded(number, j).keep(w.shape)
            return out * shrink + mix(w, v_BGSK), new_top, total

        start = jnp.full((*q_BHTK.shape[:3], 1), FLOOR)
        out, top, total = lax.fori_loop(
            first, last, visit, (jnp.zeros(q_BHTK.shape, jnp.float32), start, jnp.zeros_like(start))
        )
        total = jnp.maximum(total, TINY)
        return None, ((out / total).astype(dtype), (top + jnp.log(total))[..., 0])

    numbers = np.arange(tiling.first.size, dtype=np.int32)
    rows = (numbers, tiling.first, tiling.last, blocks(q, tiling.block_q), side_blocks(sides[0], tiling.block_q))
    out, log_sum = (join(x)[:, :, :T] for x in lax.scan(row, None, rows)[1])
    return out, log_sum


def backward(
    tiling: Tiling,
    q: Any,
    k: Any,
    v: Any,
    table: Any,
    sides: tuple[Side, Side],
    dropout: AttentionDropout | None,
    known: Known,
    dtype: Any,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """Gradients of queries, in `dtype`, and of keys, values and table, float32; the table's is None where it is not
    trained. `known` is of all the keys that the queries see, here or elsewhere."""
    keys = _keys(tiling, k, v, sides[1])
    trained = tiling.rule.position is not None and tiling.rule.position.trained

    def row(carry: Any, x: Any) -> tuple[Any, jax.Array]:
        number, first, last, q_BHTK, side, known_row = x

        def visit(j: jax.Array, so_far: Any) -> Any:
            dq, dk, dv, d_table = so_far
            k_BGSK, v_BGSK, k_side = block_at(keys, j)
            shape = (*q_BHTK.shape[:3], tiling.block_k)
            keep = None if dropout is None else dropout.folded(number, j).keep(shape)
            more = tile_back(tiling.rule, q_BHTK, k_BGSK, v_BGSK, table, side, k_side, known_row, keep)
            dk, dv = dk.at[j].add(more[1]), dv.at[j].add(more[2])
            return dq + more[0], dk, dv, None if d_table is None else d_table + more[3]

        dq, *carry = lax.fori_loop(first, last, visit, (jnp.zeros(q_BHTK.shape, jnp.float32), *carry))
        return tuple(carry), dq.astype(dtype)

    numbers, cut = np.arange(tiling.first.size, dtype=np.int32), partial(blocks, block=tiling.block_q)
    known_row = Known(cut(known.do), cut(known.log_sum, fill=NEVER), cut(known.delta))
    rows = (numbers, tiling.first, tiling.last, cut(q), side_blocks(sides[0], tiling.block_q), known_row)
    zeros = jnp.zeros(keys[0].shape, jnp.float32)
    carry, dq = lax.scan(row, (zeros, zeros, jnp.zeros(table.shape, jnp.float32) if trained else None), rows)
    dk, dv = (join(x)[:, :, : k.shape[2]] for x in carry[:2])
    return join(dq)[:, :, : q.shape[2]], dk, dv, carry[2]


def _keys(tiling: Tiling, k: jax.Array, v: jax.Array, side: Side) -> tuple[jax.Array, jax.Array, Side]:
    return blocks(k, tiling.block_k), blocks(v, tiling.block_k), side_blocks(side, tiling.block_k)
