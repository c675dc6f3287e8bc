"""Attention in a few blocks of queries, each with its whole span of keys at once: for rows too short for a loop.

Where `reference` computes every pair and keeps the weights for the backward pass, here pairs outside a block's span are
never computed, and the weights are computed again from their log-sums (Dao et al. 2022, algorithm 4). The blocks are
unrolled, so nothing is gathered or carried. B batch, T queries, S keys, H query heads, G key/value heads, K head width.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.chunked import bounds
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.scores import Operands, Rule, Scores, Side
from jaxgpt.ops.attention.tile import FLOOR, TINY, Known, cotangents, mix, tile_back, tile_scores
from jaxgpt.ops.sharding import one_device
from jaxgpt.spec.sizes import Length


class Spans(Kernel):
    """The scores of a block of queries and of all keys from the first to the last that one of them may see. Any
    pattern, bias, soft cap, dropout; needs rows whose positions are known."""

    citation = "Dao et al. 2022, algorithm 4 (its backward pass, without its loop)"
    block: Length = 128
    """Queries at once."""

    def refusal(self, case: Case) -> str | None:
        """Only positions that are not known while compiling."""
        return None if case.blocks_known and case.queries == case.keys else f"{case.why_unknown()}; use chunked"

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention block by block; on a CPU that is the program's only device, the halves of the batch apart."""
        length, block = q_BHTK.shape[2], min(self.block, q_BHTK.shape[2])
        first, last = (block * x for x in bounds(scores.pattern, length, block, block))
        spans = tuple(
            Span(i * block, min((i + 1) * block, length), int(start), min(max(int(stop), int(start) + block), length))
            for i, (start, stop) in enumerate(zip(first, last, strict=True))
        )
        attend = partial(_attend, _Static(spans, scores.rule))
        x = scores.operands(q_BHTK, k_BGSK, v_BGSK)
        if case.platform == "cpu" and one_device() and not case.dropout and q_BHTK.shape[0] % 2 == 0:
            # XLA:CPU runs a batched product of small matrices on one core, but independent ones side by side.
            return jnp.concatenate([attend(_half(x, i)) for i in range(2)])
        return attend(x)


class Span(NamedTuple):
    """Queries from `start` to before `stop`, and keys from `first` to before `last`."""

    start: int
    stop: int
    first: int
    last: int

    def queries(self, tree: Any, axis: int = 2) -> Any:
        """The span's queries of arrays (B, H, T, ...)."""
        return jax.tree.map(lambda x: jax.lax.slice_in_dim(x, self.start, self.stop, axis=axis), tree)

    def keys(self, tree: Any, axis: int = 2) -> Any:
        """The span's keys of arrays (B, G, S, ...)."""
        return jax.tree.map(lambda x: jax.lax.slice_in_dim(x, self.first, self.last, axis=axis), tree)

    def tile(self, x: Operands) -> Operands:
        """The span's queries, keys and values."""
        q, (k, v) = self.queries(x.q_BHTK), self.keys((x.k_BGSK, x.v_BGSK))
        q_side, k_side = self.queries(x.q_side, -1), self.keys(x.k_side, -1)
        return x._replace(q_BHTK=q, k_BGSK=k, v_BGSK=v, q_side=q_side, k_side=k_side)


class _Static(NamedTuple):
    """Everything that is known while compiling."""

    spans: tuple[Span, ...]
    rule: Rule


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(static: _Static, x: Operands) -> jax.Array:
    return _forward(static, x)[0]


def _forward(static: _Static, x: Operands) -> tuple[jax.Array, Any]:
    outs, log_sums = [], []
    for i, span in enumerate(static.spans):
        tile = span.tile(x)
        s, _ = tile_scores(static.rule, tile)
        top = jnp.maximum(jnp.max(s, -1, keepdims=True), FLOOR)
        w = jnp.exp(s - top)
        total = jnp.maximum(jnp.sum(w, -1, keepdims=True), TINY)
        w = w if x.dropout is None else w * x.dropout.folded(i).keep(w.shape)
        outs.append((mix(w, tile.v_BGSK) / total).astype(x.q_BHTK.dtype))
        log_sums.append((top + jnp.log(total))[..., 0])
    out, log_sum = (jnp.concatenate(each, 2) for each in (outs, log_sums))
    return out, (x, out, log_sum)


def _backward(static: _Static, saved: Any, do: jax.Array) -> tuple[Operands]:
    x, out, log_sum = saved
    known = Known.of(do, out, log_sum)
    S, parts = x.k_BGSK.shape[2], []
    for i, span in enumerate(static.spans):
        shape = (*x.q_BHTK.shape[:2], span.stop - span.start, span.last - span.first)
        keep = None if x.dropout is None else x.dropout.folded(i).keep(shape)
        dq, dk, dv, d_table = tile_back(static.rule, span.tile(x), span.queries(known), keep)
        outside = [(0, 0), (0, 0), (span.first, S - span.last), (0, 0)]
        parts.append((dq, (jnp.pad(dk, outside), jnp.pad(dv, outside), d_table)))
    dq = jnp.concatenate([part[0] for part in parts], 2)
    dk, dv, d_table = jax.tree.map(lambda *each: sum(each[1:], each[0]), *(part[1] for part in parts))
    return (cotangents(x, (dq, dk, dv, d_table)),)


_attend.defvjp(_forward, _backward)


def _half(x: Operands, i: int) -> Operands:
    """The first or second half of the rows; positions (T,) are those of all rows."""
    B = x.q_BHTK.shape[0]

    def cut(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[i * B // 2 : (i + 1) * B // 2], tree)

    def side(of: Side) -> Side:
        return Side(of.pos if of.pos.ndim == 1 else cut(of.pos), cut(of.segment))

    q, k, v = cut(x[:3])
    return x._replace(q_BHTK=q, k_BGSK=k, v_BGSK=v, q_side=side(x.q_side), k_side=side(x.k_side))
