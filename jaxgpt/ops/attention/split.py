"""How a mesh splits a call's heads: read off the rule table's entry `activations/heads`, so no axis is named here.

B batch, H query heads, G key/value heads, T tokens, K head width.
"""

from math import lcm, prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh, PartitionSpec

from jaxgpt.ops.sharding import placement


class Split(NamedTuple):
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
        """That of positions or segments (B, T), or one with `whole` rows. Positions (T,) are known everywhere."""
        return PartitionSpec(self.rows or None, None if whole else self.tokens) if x.ndim == 2 else PartitionSpec()

    def beside(self, x_BGTK: jax.Array) -> jax.Array:
        """Keys or values with each group repeated until the heads' axes divide them: every device then has the groups
        of its own query heads."""
        G = x_BGTK.shape[1]
        copies = lcm(G, self.ways(self.heads)) // G
        return x_BGTK if copies == 1 else jnp.repeat(x_BGTK, copies, axis=1)


def split_of(shape: tuple[int, ...]) -> Split | None:
    """How queries (B, H, T, K) are split; None where each device has whole rows."""
    current = placement()
    spec = None if current is None else current.spec("activations/heads", shape)
    if current is None or spec is None:
        return None
    around = jax.sharding.get_abstract_mesh()
    mesh = current.mesh if around.empty else around
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    free = frozenset(name for name, kind in kinds if kind != AxisType.Manual and mesh.shape[name] > 1)
    rows, heads, tokens, *_ = [_axes(entry, free) for entry in (*spec, None, None, None)]
    split = Split(mesh, free, rows, heads, tokens)
    return split if split.parts > 1 else None


def _axes(entry: str | tuple[str, ...] | None, free: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in ((entry,) if isinstance(entry, str) else entry or ()) if name in free)
