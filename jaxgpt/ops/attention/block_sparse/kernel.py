"""Attention that visits only the blocks a pattern keeps, forward and backward, on any backend.

For a block of queries the key blocks it may see are gathered and attended densely; blocks that no pair needs are never
touched, so time and memory are linear in the kept blocks. Patterns such as strided, whose pairs are spread over all
blocks, tell an order of the tokens in which they are not (patterns.Arranged); their disjoint parts are computed apart
and joined by their log-sums, which is exact. The backward pass recomputes the weights from the joint log-sum, as
FlashAttention does (Dao et al. 2022, algorithm 4).

B batch, T tokens, H query heads, G key/value heads, K head width; n blocks of b tokens; R rows of M key blocks.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgpt.ops.attention.block_sparse.plan import BLOCKS, Part, best_block, plan
from jaxgpt.ops.attention.blocks import blocks, join, side_blocks
from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.scores import Operands, Rule, Scores, Side
from jaxgpt.ops.attention.tile import FLOOR, NEVER, TINY, Gradients, Known, cotangents, mix, tile_back, tile_scores
from jaxgpt.ops.patterns import Pattern
from jaxgpt.spec.sizes import Length

SCORES_AT_ONCE = {"cpu": 2**17, "gpu": 2**26, "tpu": 2**26}
"""Scores held by one step. A CPU wants them in its cache; an accelerator wants many."""


class BlockSparse(Kernel):
    """Visits the kept blocks only. Any pattern, bias, soft cap, dropout; needs rows whose positions are known."""

    citation = "Child et al. 2019, section 5.5; Dao et al. 2022, section 3.3 (block-sparse FlashAttention)"
    block: Length | None = None
    """Tokens a block. None: 128 on an accelerator, on a CPU what suits the pattern (32 to 128)."""

    def refusal(self, case: Case) -> str | None:
        """Only positions that are not known while compiling."""
        return None if case.blocks_known and case.queries == case.keys else f"{case.why_unknown()}; use chunked"

    def block_for(self, pattern: Pattern, length: int, platform: str) -> int:
        """Tokens of a block: `block`, or else what suits the platform and the length."""
        return self.block or (best_block(pattern, length) if platform == "cpu" else BLOCKS[-1])

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention over the blocks of the pattern's plan; the block size goes by the platform."""
        B, H, T, _ = q_BHTK.shape
        block = min(self.block_for(scores.pattern, T, case.platform), T)
        at_once = max(1, SCORES_AT_ONCE.get(case.platform, 2**26) // (B * H * block**2))
        static = _Static(plan(scores.pattern, T, block, at_once), block, scores.rule)
        return _attend(static, scores.operands(q_BHTK, k_BGSK, v_BGSK))


class _Static(NamedTuple):
    """Everything that is known while compiling."""

    parts: tuple[Part, ...]
    block: int
    rule: Rule


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(static: _Static, x: Operands) -> jax.Array:
    return _forward(static, x)[0]


def _forward(static: _Static, x: Operands) -> tuple[jax.Array, Any]:
    results = [_part_forward(static, i, x) for i in range(len(static.parts))]
    if len(results) == 1:
        out, log_sum = results[0]
    else:
        log_sum = jax.nn.logsumexp(jnp.stack([part[1] for part in results]), 0)
        # A row that no part sees keeps its zeros: its weights are whatever FLOOR - FLOOR gives, times 0.
        out = jnp.sum(jnp.stack([part * jnp.exp(log - log_sum)[..., None] for part, log in results]), 0)
    out = out.astype(x.q_BHTK.dtype)
    return out, (x, out, log_sum)


def _backward(static: _Static, saved: Any, do: jax.Array) -> tuple[Operands]:
    x, out, log_sum = saved
    known = Known.of(do, out, log_sum)
    parts = [_part_backward(static, i, x, known) for i in range(len(static.parts))]
    return (cotangents(x, jax.tree.map(lambda *part: sum(part[1:], part[0]), *parts)),)


_attend.defvjp(_forward, _backward, optimize_remat=True)


class _Queries(NamedTuple):
    """Blocks of queries, (n, B, H, b, K)."""

    q: jax.Array
    side: Side


class _Keys(NamedTuple):
    """Blocks of keys and values, (n, B, G, b, K)."""

    k: jax.Array
    v: jax.Array
    side: Side


def _part_forward(static: _Static, index: int, x: Operands) -> tuple[jax.Array, jax.Array]:
    """Output (B, H, T, K) and log-sum (B, H, T) of one part, float32."""
    part, rule = static.parts[index], static.rule._replace(allows=static.parts[index].allows)
    rows, keys_by_block = _cut(static, part, x)

    def visit(number: jax.Array, row: _Queries, keys: _Keys) -> tuple[jax.Array, jax.Array]:
        s, _ = tile_scores(rule, _tile(x, row, keys))
        top = jnp.maximum(jnp.max(s, -1, keepdims=True), FLOOR)
        w = jnp.exp(s - top)
        total = jnp.sum(w, -1, keepdims=True)
        w_kept = w if x.dropout is None else w * x.dropout.folded(index, number).keep(w.shape)
        total = jnp.maximum(total, TINY)
        return mix(w_kept, keys.v) / total, (top + jnp.log(total))[..., 0]

    def step(_: None, ids: Any) -> tuple[None, tuple[jax.Array, jax.Array]]:
        return None, jax.vmap(visit)(ids[0], _rows(rows, ids[0]), _beside(keys_by_block, ids[1]))

    results = [lax.scan(step, None, (group.rows, group.keys))[1] for group in part.groups]
    out, log_sum = (_in_order(static, part, [pair[i] for pair in results], x.q_BHTK.shape[2]) for i in (0, 1))
    return out, log_sum


def _part_backward(static: _Static, index: int, x: Operands, known: Known) -> Gradients:
    """What one part adds to the gradients."""
    part, rule = static.parts[index], static.rule._replace(allows=static.parts[index].allows)
    rows, keys_by_block = _cut(static, part, x)
    cut = partial(_blocks, order=part.queries, block=static.block)
    in_blocks = Known(cut(known.do), cut(known.log_sum, fill=NEVER), cut(known.delta))

    def visit(number: jax.Array, row: _Queries, back: Known, keys: _Keys) -> tuple[Any, ...]:
        shape = (*row.q.shape[:3], keys.k.shape[2])
        keep = None if x.dropout is None else x.dropout.folded(index, number).keep(shape)
        return tile_back(rule, _tile(x, row, keys), back, keep)

    def step(carry: Any, ids: Any) -> tuple[Any, jax.Array]:
        dk, dv, d_table = carry
        row, back = _rows((rows, in_blocks), ids[0])
        dq, dk_new, dv_new, d_table_new = jax.vmap(visit)(ids[0], row, back, _beside(keys_by_block, ids[1]))
        dk, dv = (_add(whole, new, ids[1]) for whole, new in ((dk, dk_new), (dv, dv_new)))
        return (dk, dv, None if d_table is None else d_table + d_table_new.sum(0)), dq

    zeros = jnp.zeros(keys_by_block.k.shape, jnp.float32)
    trained = rule.position is not None and rule.position.trained
    d_table = jnp.zeros(x.table_H.shape, jnp.float32) if trained and x.table_H is not None else None
    carry: Any = (zeros, zeros, d_table)
    results = []
    for group in part.groups:
        carry, dq = lax.scan(step, carry, (group.rows, group.keys))
        results.append(dq)
    dk, dv = (_back_to_row(join(whole), part.keys, x.k_BGSK.shape[2]) for whole in carry[:2])
    return _in_order(static, part, results, x.q_BHTK.shape[2]), dk, dv, carry[2]


def _tile(x: Operands, row: _Queries, keys: _Keys) -> Operands:
    """A block of queries and the keys beside it."""
    return x._replace(q_BHTK=row.q, k_BGSK=keys.k, v_BGSK=keys.v, q_side=row.side, k_side=keys.side)


def _blocks(x: jax.Array, order: np.ndarray, block: int, fill: Any = 0) -> jax.Array:
    """(B, X, T, ...) -> (n + 1, B, X, b, ...), tokens taken in `order`; the last block is empty."""
    return blocks(_taken(x, order, 2), block, fill, spare=1)


def _side(side: Side, order: np.ndarray, block: int) -> Side:
    """Positions and segments in the same blocks."""
    return side_blocks(jax.tree.map(lambda x: _taken(x, order, x.ndim - 1), side), block, spare=1)


def _taken(x: jax.Array, order: np.ndarray, axis: int) -> jax.Array:
    return x if _is_row(order, x.shape[axis]) else jnp.take(x, order, axis=axis)


def _cut(static: _Static, part: Part, x: Operands) -> tuple[_Queries, _Keys]:
    """Queries and keys of a part in blocks, in its order."""
    queries = _Queries(_blocks(x.q_BHTK, part.queries, static.block), _side(x.q_side, part.queries, static.block))
    k, v = (_blocks(whole, part.keys, static.block) for whole in (x.k_BGSK, x.v_BGSK))
    return queries, _Keys(k, v, _side(x.k_side, part.keys, static.block))


def _rows(tree: Any, numbers: jax.Array) -> Any:
    """The R blocks that `numbers` names."""
    return jax.tree.map(lambda x: jnp.take(x, numbers, axis=0, mode="clip"), tree)


def _beside(keys_by_block: _Keys, ids: jax.Array) -> _Keys:
    """The M key blocks of each of R rows side by side, by `ids` (R, M): (R, B, G, M·b, K)."""

    def beside(x: jax.Array, axis: int) -> jax.Array:
        x = jnp.moveaxis(jnp.take(x, ids, axis=0, mode="clip"), 1, axis)
        return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])

    side = jax.tree.map(lambda x: beside(x, x.ndim - 1), keys_by_block.side)
    return _Keys(beside(keys_by_block.k, 3), beside(keys_by_block.v, 3), side)


def _add(whole: jax.Array, new: jax.Array, ids: jax.Array) -> jax.Array:
    """Adds (R, B, G, M·b, K) onto the blocks (n, B, G, b, K) that `ids` (R, M) names."""
    R, M = ids.shape
    new = jnp.moveaxis(new.reshape(*new.shape[:3], M, -1, new.shape[-1]), 3, 1)
    return whole.at[ids.reshape(-1)].add(
        new.reshape(-1, *new.shape[2:]), mode="promise_in_bounds", unique_indices=R == 1
    )


def _in_order(static: _Static, part: Part, results: list[jax.Array], length: int) -> jax.Array:
    """The groups' results (steps, R, B, H, b, ...) -> (B, H, T, ...) in the row's order."""
    numbers = np.concatenate([group.rows.reshape(-1) for group in part.groups])
    count = -(-part.queries.size // static.block)
    at = np.empty(count + 1, np.int64)
    at[numbers] = np.arange(numbers.size)
    taken = jnp.concatenate([x.reshape(-1, *x.shape[2:]) for x in results])
    whole = taken if _is_row(at[:count], taken.shape[0]) else jnp.take(taken, at[:count], axis=0)
    return _back_to_row(join(whole), part.queries, length)


def _back_to_row(x: jax.Array, order: np.ndarray, length: int) -> jax.Array:
    """(B, X, >= T', ...) in `order` -> (B, X, T, ...) in the row's order, zero where the order leaves a token out."""
    if _is_row(order, length):
        return x[:, :, :length]
    at = np.full(length, order.size, np.int64)
    at[order] = np.arange(order.size)
    if order.size < length:
        x = jnp.pad(x[:, :, : order.size], [(0, 1 if axis == 2 else 0) for axis in range(x.ndim)])
    return jnp.take(x, at, axis=2)


def _is_row(order: np.ndarray, length: int) -> bool:
    return order.size == length and bool((order == np.arange(length)).all())
