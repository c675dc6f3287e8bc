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
from jaxgpt.ops.attention.scores import Operands, Rule, Scores, Side
from jaxgpt.ops.attention.tile import FLOOR, NEVER, TINY, Gradients, Known, cotangents, mix, tile_back, tile_scores
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
            first, last = bounds(scores.pattern, T, block_q, block_k)
        else:
            first, last = np.zeros(-(-T // block_q), np.int32), np.full(-(-T // block_q), -(-S // block_k), np.int32)
        tiling = Tiling(block_q, block_k, first, last, scores.rule)
        return _attend(tiling, scores.operands(q_BHTK, k_BGSK, v_BGSK))

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
def bounds(pattern: Pattern, length: int, block_q: int, block_k: int) -> tuple[np.ndarray, np.ndarray]:
    """int32 (query blocks,) twice: the first key block that a block of queries may see, and the one after the last."""
    row = np.arange(length, dtype=np.int32)
    needed = kept_blocks(Arrangement(pattern.allows, row, row, is_relative(pattern)), block_q, block_k)
    any_needed = needed.any(1)
    first = np.where(any_needed, needed.argmax(1), 0)
    last = np.where(any_needed, needed.shape[1] - needed[:, ::-1].argmax(1), 0)
    return first.astype(np.int32), last.astype(np.int32)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(tiling: Tiling, x: Operands) -> jax.Array:
    return forward(tiling, x, x.q_BHTK.dtype)[0]


def _forward(tiling: Tiling, x: Operands) -> tuple[jax.Array, Any]:
    out, log_sum = forward(tiling, x, x.q_BHTK.dtype)
    return out, (x, out, log_sum)


def _backward(tiling: Tiling, saved: Any, do: jax.Array) -> tuple[Operands]:
    x, out, log_sum = saved
    return (cotangents(x, backward(tiling, x, Known.of(do, out, log_sum), x.q_BHTK.dtype)),)


_attend.defvjp(_forward, _backward, optimize_remat=True)


def forward(tiling: Tiling, x: Operands, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Output (B, H, T, K) in `dtype`, and log Σ exp of each query's scores, float32 (B, H, T): by the log-sums the
    outputs for several sets of keys are joined."""
    keys = _keys(tiling, x)

    def row(_: None, given: Any) -> tuple[None, tuple[jax.Array, jax.Array]]:
        number, first, last, q_BHTK, side = given

        def visit(j: jax.Array, so_far: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            out, top, total = so_far
            tile = _tile(x, q_BHTK, side, keys, j)
            s, _ = tile_scores(tiling.rule, tile)
            new_top = jnp.maximum(top, jnp.max(s, -1, keepdims=True))
            w, shrink = jnp.exp(s - new_top), jnp.exp(top - new_top)
            total = total * shrink + jnp.sum(w, -1, keepdims=True)
            w = w if x.dropout is None else w * x.dropout.folded(number, j).keep(w.shape)
            return out * shrink + mix(w, tile.v_BGSK), new_top, total

        start = jnp.full((*q_BHTK.shape[:3], 1), FLOOR)
        out, top, total = lax.fori_loop(
            first, last, visit, (jnp.zeros(q_BHTK.shape, jnp.float32), start, jnp.zeros_like(start))
        )
        total = jnp.maximum(total, TINY)
        return None, ((out / total).astype(dtype), (top + jnp.log(total))[..., 0])

    numbers, cut = np.arange(tiling.first.size, dtype=np.int32), partial(blocks, block=tiling.block_q)
    rows = (numbers, tiling.first, tiling.last, cut(x.q_BHTK), side_blocks(x.q_side, tiling.block_q))
    out, log_sum = (join(part)[:, :, : x.q_BHTK.shape[2]] for part in lax.scan(row, None, rows)[1])
    return out, log_sum


def backward(tiling: Tiling, x: Operands, known: Known, dtype: Any) -> Gradients:
    """The queries' gradient is in `dtype`. `known` is of all the keys that the queries see, here or elsewhere."""
    keys = _keys(tiling, x)
    trained = tiling.rule.position is not None and tiling.rule.position.trained

    def row(carry: Any, given: Any) -> tuple[Any, jax.Array]:
        number, first, last, q_BHTK, side, known_row = given

        def visit(j: jax.Array, so_far: Any) -> Any:
            dq, dk, dv, d_table = so_far
            shape = (*q_BHTK.shape[:3], tiling.block_k)
            keep = None if x.dropout is None else x.dropout.folded(number, j).keep(shape)
            more = tile_back(tiling.rule, _tile(x, q_BHTK, side, keys, j), known_row, keep)
            dk, dv = dk.at[j].add(more[1]), dv.at[j].add(more[2])
            return dq + more[0], dk, dv, None if d_table is None else d_table + more[3]

        dq, *carry = lax.fori_loop(first, last, visit, (jnp.zeros(q_BHTK.shape, jnp.float32), *carry))
        return tuple(carry), dq.astype(dtype)

    numbers, cut = np.arange(tiling.first.size, dtype=np.int32), partial(blocks, block=tiling.block_q)
    known_row = Known(cut(known.do), cut(known.log_sum, fill=NEVER), cut(known.delta))
    rows = (numbers, tiling.first, tiling.last, cut(x.q_BHTK), side_blocks(x.q_side, tiling.block_q), known_row)
    zeros = jnp.zeros(keys[0].shape, jnp.float32)
    d_table = jnp.zeros(x.table_H.shape, jnp.float32) if trained and x.table_H is not None else None
    carry, dq = lax.scan(row, (zeros, zeros, d_table), rows)
    dk, dv = (join(part)[:, :, : x.k_BGSK.shape[2]] for part in carry[:2])
    return join(dq)[:, :, : x.q_BHTK.shape[2]], dk, dv, carry[2]


def _keys(tiling: Tiling, x: Operands) -> tuple[jax.Array, jax.Array, Side]:
    """Keys, values and where they stand, in blocks."""
    k, v = (blocks(part, tiling.block_k) for part in (x.k_BGSK, x.v_BGSK))
    return k, v, side_blocks(x.k_side, tiling.block_k)


def _tile(x: Operands, q_BHTK: jax.Array, side: Side, keys: Any, j: jax.Array) -> Operands:
    """A block of queries and the j-th of keys."""
    k_BGSK, v_BGSK, k_side = block_at(keys, j)
    return x._replace(q_BHTK=q_BHTK, k_BGSK=k_BGSK, v_BGSK=v_BGSK, q_side=side, k_side=k_side)
