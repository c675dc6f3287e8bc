"""How a mesh splits a call's heads: read off the rule table's entry `activations/heads`, so no axis is named here.

B batch, H query heads, G key/value heads, T tokens, K head width.
"""

from collections.abc import Callable, Collection
from math import lcm, prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh, PartitionSpec

from jaxgpt.ops.sharding import Placement, placement


class AttentionSplit(NamedTuple):
    """Mesh axes that split rows, heads and tokens of (B, H, T, K); tokens are split by at least one."""

    mesh: Mesh | AbstractMesh
    free: frozenset[str]
    """Axes of several devices that no shard_map around has taken."""
    rows: tuple[str, ...]
    heads: tuple[str, ...]
    tokens: tuple[str, ...]

    def ways(self, axes: tuple[str, ...]) -> int:
        """Parts that the axes split into."""
        return prod(self.mesh.shape[axis] for axis in axes)

    @property
    def parts(self) -> int:
        """Parts that a row's tokens are in."""
        return self.ways(self.tokens)

    @property
    def axes(self) -> tuple[str, ...]:
        """All that split something."""
        return self.rows + self.heads + self.tokens

    @property
    def heads_spec(self) -> PartitionSpec:
        """The PartitionSpec of an array (B, H, T, K)."""
        return PartitionSpec(self.rows or None, self.heads or None, self.tokens, None)

    def side_spec(self, x: jax.Array, whole: bool = False) -> PartitionSpec:
        """The PartitionSpec of positions or segments (B, T), or one with `whole` rows. Positions (T,) are known
        everywhere."""
        return PartitionSpec(self.rows or None, None if whole else self.tokens) if x.ndim == 2 else PartitionSpec()

    def beside(self, x_BGTK: jax.Array) -> jax.Array:
        """Keys or values whose groups the heads' axes divide."""
        return repeated_groups(x_BGTK, self.ways(self.heads))

    def on_devices(self, local: Callable[..., Any], in_specs: Any, out_specs: Any) -> Callable[..., Any]:
        """`local`, run on every device with its parts of what `in_specs` lay out."""
        # Neither the kernels' loops nor sums by hand say how their values vary over the mesh: check_vma cannot be on.
        specs: Any = {"in_specs": in_specs, "out_specs": out_specs}
        return jax.shard_map(local, mesh=self.mesh, axis_names=self.free, check_vma=False, **specs)


def split_of(shape: tuple[int, ...]) -> AttentionSplit | None:
    """How queries (B, H, T, K) are split; None where each device has whole rows."""
    current = placement()
    spec = None if current is None else current.spec("activations/heads", shape)
    if current is None or spec is None:
        return None
    mesh, sizes = free_axes(current)
    free = frozenset(name for name, size in sizes.items() if size > 1)
    rows, heads, tokens, *_ = [axes_of(entry, free) for entry in (*spec, None, None, None)]
    split = AttentionSplit(mesh, free, rows, heads, tokens)
    return split if split.parts > 1 else None


def free_axes(current: Placement) -> tuple[Mesh | AbstractMesh, dict[str, int]]:
    """The mesh that a call is traced for, and the sizes of its axes that no shard_map around has taken."""
    around = jax.sharding.get_abstract_mesh()
    mesh = current.mesh if around.empty else around
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return mesh, {name: mesh.shape[name] for name, kind in kinds if kind != AxisType.Manual}


def axes_of(entry: str | tuple[str, ...] | None, among: Collection[str]) -> tuple[str, ...]:
    """The axes that an entry of a PartitionSpec names, of those `among`."""
    return tuple(name for name in ((entry,) if isinstance(entry, str) else entry or ()) if name in among)


def repeated_groups(x_BGTK: jax.Array, ways: int) -> jax.Array:
    """Keys or values with each group repeated until `ways` divides their number: every device then has the groups of
    its own query heads."""
    G = x_BGTK.shape[1]
    copies = lcm(G, ways) // G
    return x_BGTK if copies == 1 else jnp.repeat(x_BGTK, copies, axis=1)


def on_own_heads(
    run: Callable[..., jax.Array], q_BHTK: jax.Array, k_BGSK: jax.Array, v_BGSK: jax.Array, *rows_BT: jax.Array
) -> jax.Array:
    """`run(q, k, v, *rows)`, on every device with the rows and heads that the rule table's entry gives it: for kernels
    that the compiler cannot split. Tokens stay whole; on one device it is `run` itself."""
    current = placement()
    if current is None or current.mesh.size == 1:
        return run(q_BHTK, k_BGSK, v_BGSK, *rows_BT)
    mesh, free = free_axes(current)
    entries = (*(current.spec("activations/heads", q_BHTK.shape) or PartitionSpec()), None, None)
    rows, heads = (axes_of(entry, free) for entry in entries[:2])
    k_BGSK, v_BGSK = (repeated_groups(x, prod(free[name] for name in heads)) for x in (k_BGSK, v_BGSK))
    if free:
        whole, row = PartitionSpec(rows or None, heads or None), PartitionSpec(rows or None)
        specs: Any = {"in_specs": (*[whole] * 3, *[row] * len(rows_BT)), "out_specs": whole}
        # Kernels do not say how their outputs vary over the mesh: check_vma cannot be on.
        run = jax.shard_map(run, mesh=mesh, axis_names=set(free), check_vma=False, **specs)
    return run(q_BHTK, k_BGSK, v_BGSK, *rows_BT)
