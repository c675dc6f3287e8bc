"""All keys and values on every device that shares a row: the plain way to split tokens.

Queries stay where they are, keys and values are all-gathered, and each device attends from its own queries to all of
them by another kernel (Llama Team 2024, section 3.3.2). The gathered arrays are not kept for the backward pass, which
gathers them again and reduce-scatters their gradients. One collective instead of `ring`'s n − 1 hops, at the price of
whole rows of keys in memory and, as the local kernel does not know its place in the row, of visiting blocks that a
pattern leaves empty.

B batch, T queries, S keys, H query heads, G key/value heads, K head width.
"""

from typing import Any

import jax
from jax import lax
from jax.sharding import PartitionSpec

from jaxgpt.ops.attention.case import Case
from jaxgpt.ops.attention.chunked import Chunked
from jaxgpt.ops.attention.kernel import Kernel
from jaxgpt.ops.attention.scores import AttentionDropout, Scores, Side
from jaxgpt.ops.attention.split import split_of
from jaxgpt.ops.sharding import constraining


class Gathered(Kernel):
    """Gathers keys and values where a mesh splits a row's tokens, then leaves the work to another kernel.

    Which weights dropout keeps depends on the mesh.
    """

    citation = "Llama Team 2024 (Llama 3), section 3.3.2: all-gather based context parallelism"
    inner: Kernel = Chunked()
    """What computes on each device; where tokens are split it must take positions known only when it runs."""

    def refusal(self, case: Case) -> str | None:
        """What `inner` refuses, for a device's queries and all keys."""
        why = self.inner.refusal(self._inner_case(case))
        return None if why is None else f"cannot compute by {self.inner.kind}, which {why}"

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores, case: Case) -> jax.Array:
        """Attention by `inner` on each device, from its own queries to the keys of all."""
        split = split_of(q_BHTK.shape)
        if split is None or k_BGSK.shape[2] != q_BHTK.shape[2]:
            return self.inner.compute(q_BHTK, k_BGSK, v_BGSK, scores, case)

        def local(
            q: Any, k: Any, v: Any, table: Any, q_side: Side, k_side: Side, dropout: AttentionDropout | None
        ) -> jax.Array:
            k, v = (lax.all_gather(x, split.tokens, axis=2, tiled=True) for x in (k, v))
            if q_side.pos.ndim == 1:
                first = lax.axis_index(split.tokens) * q.shape[2]
                q_side = q_side._replace(pos=lax.dynamic_slice_in_dim(q_side.pos, first, q.shape[2]))
            if dropout is not None:
                dropout = dropout.folded(lax.axis_index(split.axes))
            own = scores._replace(q=q_side, k=k_side, table_H=table, dropout=dropout, numbering="any")
            with constraining(None):  # a device on its own
                return self.inner.compute(q, k, v, own, self._inner_case(case))

        heads = split.heads_spec
        q_spec = jax.tree.map(split.side_spec, scores.q)
        k_spec = jax.tree.map(lambda x: split.side_spec(x, whole=True), scores.k)
        table_spec = PartitionSpec(split.heads or None)
        specs = (heads, heads, heads, table_spec, q_spec, k_spec, PartitionSpec())
        run = split.on_devices(jax.checkpoint(local, policy=_saved), specs, heads)
        keys = (split.beside(x) for x in (k_BGSK, v_BGSK))
        return run(q_BHTK, *keys, scores.table_H, scores.q, scores.k, scores.dropout)

    def _inner_case(self, case: Case) -> Case:
        """The case of a device's queries and all keys."""
        if case.token_parts == 1:
            return case
        return case._replace(queries=case.queries // case.token_parts, numbering="any", token_parts=1)


def _saved(primitive: Any, *_: Any, **__: Any) -> bool:
    """What is kept for the backward pass: all but whole rows."""
    return bool(primitive.name != "all_gather")
