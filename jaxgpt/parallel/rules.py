"""The sharding seam: tables from parameter paths to mesh axes."""

import re
from abc import abstractmethod
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgpt.spec import Seam

Table = tuple[tuple[str, tuple[str | None, ...]], ...]


class Rules(Seam, seam="sharding"):
    """Base of all rule tables."""

    @abstractmethod
    def table(self) -> Table:
        """(pattern, axes) pairs; the first pattern found in a path names the axes of the leaf's last dimensions."""


class Standard(Rules):
    """Matrices split over `fsdp` on one side and over `tensor` on the other, columns then rows; the rest is whole."""

    citation = "Rajbhandari et al. 2020 (ZeRO), section 5; Shoeybi et al. 2019 (Megatron-LM), section 3"

    def table(self) -> Table:
        """An axis of size 1 splits nothing, so one table serves every mesh."""
        return (
            (r"embed/token$", ("tensor", "fsdp")),
            (r"embed/position$", (None, "fsdp")),
            (r"(attention/[qkv]|feed_forward/(up|gate)|head)/weight$", ("fsdp", "tensor")),
            (r"(attention/[qkv]|feed_forward/(up|gate))/bias$", ("tensor",)),
            (r"(attention/o|feed_forward/down)/weight$", ("tensor", "fsdp")),
        )


def shardings(tree: Any, rules: Rules, mesh: Mesh) -> Any:
    """A NamedSharding for each leaf of a tree of shapes. Optimiser state follows the parameter whose path it ends in.

    An axis that does not divide its dimension is left out: the leaf stays whole along it.
    """
    table = [(re.compile(pattern), axes) for pattern, axes in rules.table()]

    def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = "/".join(str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", "")))) for part in path)
        axes = next((axes for pattern, axes in table if pattern.search(name)), ())
        if len(axes) > len(leaf.shape):
            return NamedSharding(mesh, PartitionSpec())
        sizes = leaf.shape[len(leaf.shape) - len(axes) :]
        kept = [axis if axis and size % mesh.shape[axis] == 0 else None for axis, size in zip(axes, sizes, strict=True)]
        return NamedSharding(mesh, PartitionSpec(*[None] * (len(leaf.shape) - len(axes)), *kept))

    return jax.tree_util.tree_map_with_path(one, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch over the data and fsdp axes."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
