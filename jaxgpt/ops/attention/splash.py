"""Attention by JAX's block-sparse Pallas kernel for TPU ("splash"): blocks that a pattern leaves empty are skipped.

The mask is the pattern's closed form, evaluated inside the kernel, so no (T, T) array exists and every pattern whose
positions are known works. Rows without a key rest on an attention sink (Xiao et al. 2024) of FLOOR: next to a real
score it weighs nothing, and where there is none it takes all the weight and gives zeros, forward and backward.

B batch, T tokens, H query heads, G key/value heads, K head width.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.scores import Scores
from jaxgpt.ops.attention.split import on_own_heads
from jaxgpt.ops.attention.tile import FLOOR
from jaxgpt.ops.patterns import Pattern, is_relative

LANES = 128
"""Blocks are multiples of the TPU's vector width."""
NOWHERE = np.iinfo(np.int32).min
"""The segment of keys that nobody may see."""


class Splash(Kernel):
    """A fused kernel on TPU. Any pattern, grouped heads, segments, soft cap; no bias, no dropout, no cache.

    The compiler cannot split a Pallas call over devices (jax issue 38196: not with custom_partitioning either), so each
    device is given its rows and heads by shard_map, as the rule table's entry `activations/heads` splits them.
    """

    citation = "Dao 2023 (FlashAttention-2), section 3; Child et al. 2019, section 5.5 (skipped blocks)"
    block: int = Field(default=512, ge=LANES, le=2**24, multiple_of=LANES)
    """Most tokens a block, of queries and of keys."""
    interpret: bool = False
    """Emulates the kernel on any backend, slowly: for tests."""

    def refusal(self, case: Case) -> str | None:
        """Other backends, unknown positions, bias, dropout, and dtypes that the TPU's vector unit lacks."""
        if case.platform != "tpu" and not self.interpret:
            return f"cannot run on a {case.platform}; use chunked"
        if not case.blocks_known:
            return f"{case.why_unknown()}; use chunked"
        if case.queries != case.keys:
            return f"cannot attend from {case.queries} queries to {case.keys} keys; use chunked"
        if case.bias:
            return "cannot add a bias to the scores; use chunked"
        if case.dropout:
            return "cannot drop attention weights; use chunked"
        if case.dtype not in ("bfloat16", "float32"):
            return f"cannot compute in {case.dtype}; use chunked"
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention by the TPU kernel; a length that blocks do not fill is padded with keys that the mask excludes."""
        B, _, T, K = q_BHTK.shape
        count = -(-T // self.block)
        block = -(-T // (count * LANES)) * LANES
        padded = count * block
        run = _batched(_kernel(scores.pattern, T, padded, block, scores.soft_cap, self.interpret))
        values = [_lengthen(x, padded) for x in (q_BHTK * K**-0.5, k_BGSK, v_BGSK)]
        segments = [_lengthen(x, padded) for x in _segments(scores, B, T)]
        return on_own_heads(run, *values, *segments)[:, :, :T]


def _batched(kernel: Any) -> Callable[..., jax.Array]:
    """(B, H, T, K), (B, G, T, K) twice, and (B, T) segments twice or not at all -> (B, H, T, K)."""
    from jax.experimental.pallas.ops.tpu.splash_attention import SegmentIds

    def row(q_HTK: jax.Array, k_GTK: jax.Array, v_GTK: jax.Array, *segments_T: jax.Array) -> jax.Array:
        sinks_H = jnp.full(q_HTK.shape[0], FLOOR)
        return kernel(q_HTK, k_GTK, v_GTK, SegmentIds(*segments_T) if segments_T else None, sinks_H)

    return jax.vmap(row)


@lru_cache(maxsize=64)
def _kernel(
    pattern: Pattern, length: int, padded: int, block: int, soft_cap: float | None, interpret: bool
) -> Callable[..., jax.Array]:
    """Splash for one row, any heads. Finding the blocks is numpy over all T² pairs, hence the cache."""
    from jax.experimental.pallas.ops.tpu.splash_attention import BlockSizes, Mask, MultiHeadMask, make_splash_mha

    relative = is_relative(pattern)
    # By distance alone few blocks differ: at 128k tokens, seconds instead of minutes.
    pairs = lru_cache(maxsize=2 * padded // block if relative else 0)(partial(_pairs, pattern))

    class Computed(Mask):
        """What splash asks of a mask that it computes itself: which blocks hold a pair, and the function."""

        shape = (padded, padded)
        q_sequence = np.arange(padded, dtype=np.int32)

        @staticmethod
        def mask_function(q: Any, k: Any) -> Any:
            return pattern.allows(q, k) & (k < length)

        def __getitem__(self, at: tuple[slice, slice]) -> np.ndarray:
            (q, rows), (k, columns) = ((part.start, part.stop - part.start) for part in at)
            shared = min(q, k) if relative else 0
            seen = pairs(q - shared, k - shared, rows, columns)
            if k + columns > length or q == k == 0:
                seen = seen & (np.arange(k, k + columns) < length)
                # No block at all is an error to splash: where a pattern is empty, the first is visited in vain.
                seen[0, 0] |= q == k == 0
            return seen

    sizes = BlockSizes(
        block_q=block, block_kv=block, block_q_dkv=block, block_kv_dkv=block, block_q_dq=block, block_kv_dq=block
    )
    with jax.ensure_compile_time_eval():  # the first call is inside a trace, whose values a cache must not keep
        kernel = make_splash_mha(
            MultiHeadMask([Computed()]),
            block_sizes=sizes,
            head_shards=1,
            q_seq_shards=1,
            attn_logits_soft_cap=soft_cap,
            interpret=interpret,
        )
    pairs.cache_clear()  # splash keeps the mask
    return jax.tree.map(np.asarray, kernel)


def _pairs(pattern: Pattern, q: int, k: int, rows: int, columns: int) -> np.ndarray:
    """bool (rows, columns): which of `columns` keys from position k on each of `rows` queries from q on sees."""
    at = np.arange(q, q + rows, dtype=np.int32)[:, None], np.arange(k, k + columns, dtype=np.int32)[None, :]
    return np.broadcast_to(pattern.allows(*at), (rows, columns))


def _segments(scores: Scores, batch: int, length: int) -> list[jax.Array]:
    """int32 (B, T) of queries and of keys; none where every key may be seen."""
    if scores.q.segment is None and scores.numbering == "row" and scores.k.pos.ndim == 1:
        return []  # a position is the index: none is negative
    zeros = jnp.zeros((batch, length), jnp.int32)
    q_segment, k_segment = (zeros if side.segment is None else side.segment for side in (scores.q, scores.k))
    return [q_segment, jnp.where(jnp.broadcast_to(scores.k.pos, k_segment.shape) >= 0, k_segment, NOWHERE)]


def _lengthen(x: jax.Array, length: int) -> jax.Array:
    """(B, T) or (B, H, T, K) with zeros up to `length` tokens."""
    axis = 1 if x.ndim == 2 else 2
    return jnp.pad(x, [(0, length - x.shape[axis] if i == axis else 0) for i in range(x.ndim)])
