"""What the rule tables say of one value, of a tree, of a program."""

import re
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from types import EllipsisType
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from jaxgpt.ops.sharding import Placement, path_name
from jaxgpt.parallel.rules import BATCH, Axes, Entry, Rules, Spread, Table


class Split(NamedTuple):
    """How one array is split over a mesh."""

    spec: PartitionSpec
    ways: int
    """The number of parts that it is split into."""
    refused: tuple[str, ...]
    """Axes of more than one device that a table names and that do not divide the value."""


@lru_cache(maxsize=4096)
def split(path: str, shape: tuple[int, ...], rules: Rules, mesh: Mesh | AbstractMesh) -> Split | None:
    """How `rules` lay out a value on `mesh`; None where no table names it."""
    entries = [axes for table in (*BATCH, *rules.tables()) if (axes := _first(table, path)) is not None]
    if not entries:
        return None
    sizes = dict(mesh.shape)
    axes_of: list[tuple[str, ...]] = [()] * len(shape)
    refused: list[str] = []
    for axes in sorted(entries, key=lambda axes: isinstance(axes, Spread)):  # what spreads takes what is left
        if isinstance(axes, Spread):
            refused += [] if _spread(axes, shape, axes_of, sizes) else [axes.axis]
            continue
        for i, axis in enumerate(_aligned(axes, len(shape))):
            for name in (axis,) if isinstance(axis, str) else axis or ():
                if sizes[name] == 1 or any(name in names for names in axes_of):
                    continue
                if shape[i] % _ways((*axes_of[i], name), sizes):
                    refused.append(name)
                else:
                    axes_of[i] = (*axes_of[i], name)
    spec = PartitionSpec(*[None if not names else names[0] if len(names) == 1 else names for names in axes_of])
    return Split(spec, prod(_ways(names, sizes) for names in axes_of), tuple(refused))


def shardings(tree: Any, rules: Rules, mesh: Mesh, root: str = "") -> Any:
    """A NamedSharding for each leaf of a tree of shapes whose own path is `root`. What no table names is whole."""

    def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        layout = split(root + path_name(path), tuple(leaf.shape), rules, mesh)
        return NamedSharding(mesh, PartitionSpec() if layout is None else layout.spec)

    return jax.tree_util.tree_map_with_path(sharding, tree)


def placement_of(rules: Rules, mesh: Mesh) -> Placement:
    """What `constraining` wants while a program is traced. On a single device nothing is constrained."""

    def spec(path: str, shape: tuple[int, ...]) -> PartitionSpec | None:
        layout = None if mesh.size == 1 else split(path, tuple(shape), rules, mesh)
        return None if layout is None else layout.spec

    stream = spec("activations/residual", (mesh.size,) * 3)
    tokens = stream[1] if stream is not None else None
    return Placement(mesh, spec, _ways((tokens,) if isinstance(tokens, str) else tokens or (), dict(mesh.shape)))


def _ways(names: Sequence[str], sizes: dict[str, int]) -> int:
    return prod(sizes[name] for name in names)


def _first(table: Table, path: str) -> Any:
    entry: Entry | None = next((entry for entry in table if re.search(entry[0], path)), None)
    return None if entry is None else entry[1]


def _aligned(axes: tuple[Axes | EllipsisType, ...], rank: int) -> Sequence[Any]:
    """One entry a dimension; all None for a value of too few (an optimiser's scalar, a factored moment)."""
    cut = axes.index(...) if ... in axes else len(axes)
    front, back = axes[:cut], axes[cut + 1 :]
    missing = rank - len(front) - len(back)
    return (None,) * rank if missing < 0 else (*front, *(None,) * missing, *back)


def _spread(spread: Spread, shape: tuple[int, ...], axes_of: list[tuple[str, ...]], sizes: dict[str, int]) -> bool:
    """Adds the axis to a dimension; whether one took it, or there was nothing to do."""
    if sizes[spread.axis] == 1 or prod(shape) == 1:
        return True
    for i in sorted(range(spread.skip, len(shape)), key=lambda i: (bool(axes_of[i]), -shape[i], i)):
        if shape[i] % _ways((*axes_of[i], spread.axis), sizes) == 0:
            axes_of[i] = (*axes_of[i], spread.axis)
            return True
    return False
