"""Tensors of an adapter before they are read: padded, scaled, or made up where a file says nothing of a layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.interop.tensors import Tensor

Leaves = dict[str, np.ndarray]
"""Parameters by path."""


def constant(value: float, *shape: int) -> Tensor:
    """A tensor of one number, float32."""
    return Tensor(shape, np.dtype(np.float32), lambda: np.full(shape, value, np.float32))


def computed(array: np.ndarray) -> Tensor:
    """A tensor that is in memory."""
    return Tensor(array.shape, array.dtype, lambda: array)


def padded(tensor: Tensor, axis: int, size: int, factor: float = 1.0) -> Tensor:
    """The tensor times `factor`, float32, with zeros behind it up to `size` along an axis; itself where neither changes
    it."""
    missing = size - tensor.shape[axis]
    if missing == 0 and factor == 1:
        return tensor

    def read() -> np.ndarray:
        scaled = tensor.read().astype(np.float64) * factor
        widths = [(0, missing if i == axis % scaled.ndim else 0) for i in range(scaled.ndim)]
        return np.pad(scaled, widths).astype(np.float32)

    shape = list(tensor.shape)
    shape[axis] = size
    return Tensor(tuple(shape), np.dtype(np.float32), read)


def read_rows(rows: list[Row], tensors: Mapping[str, Tensor], shapes: Mapping[str, Any]) -> Leaves:
    """The leaves that rows make of tensors; see NameMap.read. `shapes`: those of the leaves, by path."""
    tree = unflatten_dict({path: shapes[path] for row in rows for path in row.ours}, sep="/")
    return dict(flatten_dict(_map(rows).read(tensors, tree), sep="/")) if rows else {}


def write_rows(rows: list[Row], leaves: Leaves) -> dict[str, np.ndarray]:
    """The tensors that rows make of leaves; see NameMap.write."""
    tree = unflatten_dict({path: leaves[path] for row in rows for path in row.ours}, sep="/")
    return _map(rows).write(tree, tree) if rows else {}


def _map(rows: list[Row]) -> NameMap:
    return NameMap(tuple(rows), prefix="", buffers="", copies={})
