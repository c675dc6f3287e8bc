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
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxgpt.ops.attention.chunked import Chunked
from jaxgpt.ops.attention.kernel import Case, Kernel, Scores
from jaxgpt.ops.attention.split import split_of
from jaxgpt.ops.attention.tile import sides, table_of
from jaxgpt.ops.placing import placing
from jaxgpt.ops.setting import on


class Gathered(Kernel):
    """Gathers keys and values where a mesh splits a row's tokens, then leaves the work to another kernel.

    Which weights dropout keeps depends on the mesh.
    """

    citation = "Llama Team 2024 (Llama 3), section 3.3.2: all-gather based context parallelism"
    inner: Kernel = Chunked()
    """What computes on each device; where tokens are split it must take positions known only when it runs."""

    def refusal(self, case: Case) -> str | None:
        """What `inner` refuses, for a device's queries and all keys."""
        if case.token_parts > 1:
            case = case._replace(queries=case.queries // case.token_parts, places="any", token_parts=1)
        why = self.inner.refusal(case)
        return None if why is None else f"cannot compute by {self.inner.kind}, which {why}"

    def compute(self, q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, scores: Scores) -> jax.Array:
        """See Kernel.attend."""
        split = split_of(q_BHTK.shape)
        if split is None or k_BGSK.shape[2] != q_BHTK.shape[2]:
            return self.inner.compute(q_BHTK, k_BGSK, v_BGSK, scores)

        def local(q: Any, k: Any, v: Any, table: Any, both: Any, key: Any, rate: Any) -> jax.Array:
            k, v = (lax.all_gather(x, split.tokens, axis=2, tiled=True) for x in (k, v))
            (q_pos, q_segment), (k_pos, k_segment) = both
            if q_pos.ndim == 1:
                q_pos = lax.dynamic_slice_in_dim(q_pos, lax.axis_index(split.tokens) * q.shape[2], q.shape[2])
            mine = scores._replace(
                q_pos=q_pos,
                k_pos=k_pos,
                q_segment=q_segment,
                k_segment=k_segment,
                bias=None if scores.bias is None else scores.bias._replace(table_H=table),
                dropout=rate,
                dropout_key=None if key is None else jax.random.fold_in(key, lax.axis_index(split.axes)),
                places="any",
            )
            with placing(None):  # a device on its own
                return self.inner.compute(q, k, v, mine)

        heads, (q_side, k_side) = split.heads_spec, sides(scores)
        specs = (
            jax.tree.map(split.side_spec, q_side),
            jax.tree.map(lambda x: split.side_spec(x, whole=True), k_side),
        )
        table_spec = PartitionSpec(split.heads or None)
        run = jax.shard_map(
            jax.checkpoint(local, policy=_saved),
            mesh=split.mesh,
            axis_names=split.free,
            in_specs=(heads, heads, heads, table_spec, specs, PartitionSpec(), PartitionSpec()),
            out_specs=heads,
            check_vma=False,  # the inner kernels' loops do not say how their values vary over the mesh
        )
        keys = (split.beside(x) for x in (k_BGSK, v_BGSK))
        key = scores.dropout_key if on(scores.dropout) else None
        return run(q_BHTK, *keys, table_of(scores.bias), (q_side, k_side), key, jnp.float32(scores.dropout))


def _saved(primitive: Any, *_: Any, **__: Any) -> bool:
    """What is kept for the backward pass: all but whole rows."""
    return bool(primitive.name != "all_gather")
