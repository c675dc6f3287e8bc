"""Ring attention: each device keeps its queries, and keys and values travel around the devices that share a row.

A visit, one piece of queries against one of keys, is the chunked kernel's online softmax; visits are joined by their
log-sums, which is exact. The backward pass sends keys and values around once more, and with them the sums of their
gradients, which end at home. No device ever holds more of a row than its own part and the part that is passing, and the
next part is under way while one computes (Liu et al. 2023, section 3).

Balance is the kernel's own business: where the row's order would leave devices waiting for the last, as under a causal
pattern, pieces are exchanged into zigzag order on entry and back on exit, and nobody else knows. That halves the time
of every step and moves four parts of a row (queries, keys, values, outputs) beside the 2(n − 1) of the ring: a byte for
T / 4 FLOPs (16 bits, ungrouped). On one 90 GB/s link of a 459 TFLOP/s chip that is a quarter of the time left at
80k tokens, a sixth at 128k, a fiftieth at 1M; keys that hide behind their step's work need some 10k tokens a device to
begin with. A loader that laid rows out in zigzag would save these moves, but every window, shift and position would
then have to know the order. Patterns in balance as they are (two-sided, narrow bands) stay in the row's order.

B batch, T tokens, H query heads, G key/value heads, K head width; n devices; p pieces a device of t tokens each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxgpt.ops.attention.blocks import block_at, blocks, join
from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.chunked import Chunked, Tiling, backward, forward
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.ring import zigzag
from jaxgpt.ops.attention.ring.plan import Plan, Visits, plan
from jaxgpt.ops.attention.scores import AttentionDropout, Operands, Rule, Scores, Side
from jaxgpt.ops.attention.split import AttentionSplit, split_of
from jaxgpt.ops.attention.tile import FLOOR, NEVER, Known, cotangents


class Ring(Kernel):
    """Keys and values travel around the devices that split a row's tokens. Any pattern, bias, soft cap, dropout.

    Parts that no pair needs are neither computed nor, where all devices can do without, sent. Which weights dropout
    keeps depends on the mesh.
    """

    citation = "Liu et al. 2023 (Ring Attention), section 3; Brandon et al. 2023 (Striped Attention), section 3"
    inner: Chunked = Chunked()
    """The blocks that a device computes in, and what computes rows that are whole."""

    def refusal(self, case: Case) -> str | None:
        """None: it computes every case; rows that no devices share it leaves to `inner`."""
        return None

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention with keys that go around the mesh axes that split `activations/heads`."""
        B, H, T, _ = q_BHTK.shape
        split = split_of(q_BHTK.shape)
        if split is None or k_BGSK.shape[2] != T:
            return self.inner.compute(q_BHTK, k_BGSK, v_BGSK, scores, case)
        heads = B * H // split.ways(split.rows + split.heads)
        sizes = self.inner.sizes(heads, T // split.parts, T // split.parts, case.platform)
        known = scores.pattern if case.blocks_known else None
        static = _Static(split, plan(known, T, split.parts, *sizes), scores.rule)
        keys = (split.beside(x) for x in (k_BGSK, v_BGSK))
        return _attend(static, scores.operands(q_BHTK, *keys))


class _Static(NamedTuple):
    """Everything that is known while compiling."""

    split: AttentionSplit
    plan: Plan
    rule: Rule


class _Pieces(NamedTuple):
    """A device's pieces of queries or of keys, in the plan's order, and what must travel with them."""

    arrays: tuple[jax.Array, ...]
    """(p, B, X, t, K)."""
    pos: jax.Array | None
    """int32 (p, B, 1, t). None: the rows share their positions, which every device knows."""
    segment: jax.Array | None
    """int32 (p, B, 1, t)."""


class _Shared(NamedTuple):
    """What all pieces of a device are computed with."""

    table_H: jax.Array | None
    sides: tuple[Side, Side]
    dropout: AttentionDropout | None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(static: _Static, x: Operands) -> jax.Array:
    return _forward(static, x)[0]


def _forward(static: _Static, x: Operands) -> tuple[jax.Array, Any]:
    def local(q: Any, k: Any, v: Any, shared: _Shared) -> Any:
        queries, keys = _pieces(static, (q,), shared.sides[0]), _pieces(static, (k, v), shared.sides[1])
        own = _own(static, shared)
        shape = queries.arrays[0].shape
        start = jnp.zeros(shape, jnp.float32), jnp.full(shape[:-1], FLOOR)

        def compute(passing: _Pieces, visits: Visits, done: Any, _: None) -> tuple[Any, None]:
            return _visits_forward(static, visits, queries, passing, own, done), None

        (out, log_sum), _ = _around(static, keys, compute, start, None)
        return _from_pieces(static, out.astype(q.dtype)), (queries, keys, log_sum)

    shared = _Shared(x.table_H, (x.q_side, x.k_side), x.dropout)
    specs = _specs(static, shared)
    run = static.split.on_devices(local, (*[specs.heads] * 3, specs.shared), (specs.heads, specs.pieces))
    out, in_pieces = run(*x[:3], shared)
    return out, (in_pieces, out, shared)


def _backward(static: _Static, saved: Any, do: jax.Array) -> tuple[Operands]:
    in_pieces, out, shared = saved
    trained = static.rule.position is not None and static.rule.position.trained

    def local(in_pieces: Any, out: Any, do: Any, shared: _Shared) -> Any:
        # A compiler that saw the forward pass send the same keys would keep whole rows of them until now.
        (queries, keys, log_sum), do = lax.optimization_barrier((in_pieces, do))
        own = _own(static, shared)
        delta = jnp.sum(do.astype(jnp.float32) * out.astype(jnp.float32), -1)
        do, delta = _to_pieces(static, (do, delta))
        known = Known(do, jnp.where(log_sum > FLOOR, log_sum, NEVER), delta)
        pieces = (*queries.arrays, *keys.arrays)
        dq, *none = (jnp.zeros(x.shape, jnp.float32) for x in pieces)

        def compute(passing: _Pieces, visits: Visits, carried: Any, sums: Any) -> tuple[Any, Any]:
            dq, d_table = carried
            start = (dq, *none, d_table)
            dq, *new, d_table = _visits_backward(static, visits, queries, passing, own, known, start)
            # Added last: the sums of earlier steps arrive while this step computes.
            return (dq, d_table), [x + y for x, y in zip(new, sums, strict=True)]

        d_table = jnp.zeros(shared.table_H.shape, jnp.float32) if trained and shared.table_H is not None else None
        (dq, d_table), sums = _around(static, keys, compute, (dq, d_table), none)
        grads = [_from_pieces(static, x.astype(old.dtype)) for x, old in zip((dq, *sums), pieces, strict=True)]
        return *grads, None if d_table is None else lax.psum(d_table, static.split.rows + static.split.tokens)

    specs = _specs(static, shared)
    ins = (specs.pieces, specs.heads, specs.heads, specs.shared)
    run = static.split.on_devices(local, ins, (*[specs.heads] * 3, specs.shared.table_H))
    dq, dk, dv, d_table = run(in_pieces, out, do, shared)
    x = Operands(dq, dk, dv, shared.table_H, shared.sides[0], shared.sides[1], shared.dropout)
    return (cotangents(x, (dq, dk, dv, d_table)),)


_attend.defvjp(_forward, _backward, optimize_remat=True)


def _around(
    static: _Static, keys: _Pieces, compute: Callable[..., Any], carried: Any, travelling: Any
) -> tuple[Any, Any]:
    """Keys go around, and `travelling` with them, until it is home. At each step `compute(keys, visits, carried,
    travelling)` gives the next two. Equal hops are one loop, so that the program does not grow with the devices."""

    def turn(hop: int, carry: Any, visits: Visits) -> tuple[Any, None]:
        passing, carried, travelling = carry
        coming = _hop(static, passing, hop)  # under way while this step computes
        carried, travelling = compute(passing, visits, carried, travelling)
        return (coming, carried, _hop(static, travelling, hop)), None

    device = lax.axis_index(static.split.tokens)
    own = jax.tree.map(lambda x: jnp.asarray(x)[:, device], static.plan.visits)
    carry = keys, carried, travelling
    for hop, steps in static.plan.legs:
        carry, _ = lax.scan(partial(turn, hop), carry, jax.tree.map(lambda x, steps=steps: x[steps], own))
    carried, travelling = compute(carry[0], jax.tree.map(lambda x: x[-1], own), *carry[1:])
    return carried, _hop(static, travelling, -static.plan.offsets[-1])


def _visits_forward(
    static: _Static, visits: Visits, queries: _Pieces, keys: _Pieces, shared: _Shared, done: Any
) -> Any:
    """`done`: output (p, B, H, t, K) and log-sum (p, B, H, t) of the earlier steps, float32."""

    def visit(which: jax.Array, done: Any) -> Any:
        at, tiling, pair = _visit(static, visits, which, queries, keys, shared)
        part, log_part = forward(tiling, pair, jnp.float32)
        out, log_sum = (block_at(x, at[0]) for x in done)
        joint = jnp.logaddexp(log_sum, log_part)
        # A row that nothing has seen yet keeps its zeros: its weights are whatever FLOOR - FLOOR gives, times 0.
        out = out * jnp.exp(log_sum - joint)[..., None] + part * jnp.exp(log_part - joint)[..., None]
        return tuple(
            lax.dynamic_update_index_in_dim(x, new, at[0], 0) for x, new in zip(done, (out, joint), strict=True)
        )

    return lax.fori_loop(0, visits.number, visit, done)


def _visits_backward(
    static: _Static, visits: Visits, queries: _Pieces, keys: _Pieces, shared: _Shared, known: Known, sums: Any
) -> Any:
    """`sums`: gradients of queries, keys and values, (p, B, X, t, K), and of the table or None, float32."""

    def visit(which: jax.Array, sums: Any) -> Any:
        at, tiling, pair = _visit(static, visits, which, queries, keys, shared)
        *new, d_table = backward(tiling, pair, Known(*(block_at(x, at[0]) for x in known)), jnp.float32)
        *whole, d_sum = sums
        added = [x.at[slot].add(more) for x, more, slot in zip(whole, new, (at[0], at[1], at[1]), strict=True)]
        return *added, None if d_sum is None else d_sum + d_table

    return lax.fori_loop(0, visits.number, visit, sums)


def _visit(
    static: _Static, visits: Visits, which: Any, queries: _Pieces, keys: _Pieces, shared: _Shared
) -> tuple[jax.Array, Tiling, Operands]:
    """The slots of one of the visits that a device makes in a step, its tiling, and what meets."""
    slots, pieces, first, last = (block_at(x, which) for x in visits[1:])
    arrays, sides = list[jax.Array](), list[Side]()
    for whole, side, slot, piece in zip((queries, keys), shared.sides, slots, pieces, strict=True):
        arrays += [block_at(x, slot) for x in whole.arrays]
        if whole.pos is None:
            pos = block_at(side.pos.reshape(-1, static.plan.piece), piece)
        else:
            pos = block_at(whole.pos, slot)[:, 0]
        sides.append(Side(pos, None if whole.segment is None else block_at(whole.segment, slot)[:, 0]))
    tiling = Tiling(static.plan.block_q, static.plan.block_k, first, last, static.rule)
    dropout = None if shared.dropout is None else shared.dropout.folded(*pieces)
    (q, k, v), (q_side, k_side) = arrays, sides
    return slots, tiling, Operands(q, k, v, shared.table_H, q_side, k_side, dropout)


class _Specs(NamedTuple):
    """Where the values of a call lie."""

    heads: PartitionSpec
    """Those of (B, X, T, K)."""
    pieces: tuple[_Pieces, _Pieces, PartitionSpec]
    """Queries, keys and the log-sums (p, B, H, t), in pieces."""
    shared: Any
    """A `_Shared` of them."""


def _specs(static: _Static, shared: _Shared) -> _Specs:
    split = static.split
    rows, heads, tokens, width = split.heads_spec
    arrays: Any = PartitionSpec(None, rows, heads, tokens, width)
    side: Any = PartitionSpec(None, rows, None, tokens)
    pieces = _Pieces(arrays, side, side)
    parts: Any = PartitionSpec(heads), jax.tree.map(split.side_spec, shared.sides), PartitionSpec()
    return _Specs(split.heads_spec, (pieces, pieces, PartitionSpec(None, rows, heads, tokens)), _Shared(*parts))


def _pieces(static: _Static, arrays: tuple[jax.Array, ...], side: Side) -> _Pieces:
    """A device's part of a row in pieces."""
    pos, segment = side.pos if side.pos.ndim == 2 else None, side.segment
    return _Pieces(_to_pieces(static, arrays), *_to_pieces(static, jax.tree.map(lambda x: x[:, None], (pos, segment))))


def _to_pieces(static: _Static, tree: Any) -> Any:
    """Leaves (B, X, T/n, ...), a device's part of a row -> (p, B, X, t, ...), pieces in the plan's order."""
    tree = jax.tree.map(lambda x: blocks(x, static.plan.piece), tree)
    return zigzag.to_zigzag(tree, static.split.tokens, static.split.parts) if static.plan.zigzag else tree


def _from_pieces(static: _Static, x: jax.Array) -> jax.Array:
    """(p, B, X, t, ...) in the plan's order -> the device's part of the row, (B, X, T/n, ...)."""
    return join(zigzag.from_zigzag(x, static.split.tokens, static.split.parts) if static.plan.zigzag else x)


def _hop(static: _Static, tree: Any, by: int) -> Any:
    """Everything moves on by so many devices."""
    n = static.split.parts
    way = [(device, (device + by) % n) for device in range(n)]
    return tree if by % n == 0 else jax.tree.map(lambda x: lax.ppermute(x, static.split.tokens, way), tree)


def _own(static: _Static, shared: _Shared) -> _Shared:
    """What a device computes with: dropout is drawn for its own rows and heads."""
    axes = static.split.rows + static.split.heads
    if shared.dropout is None or not axes:
        return shared
    return shared._replace(dropout=shared.dropout.folded(lax.axis_index(axes)))
