"""A two-way map between our parameter tree and another library's flat names.

Our blocks are stored once with the layer as leading axis, theirs layer by layer; theirs may fuse several of our
matrices into one. Both are read off one table, so whatever comes in goes out bit for bit.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.spec import JaxgptError

Shapes = Mapping[str, tuple[int, ...]]


class Row(NamedTuple):
    """One kind of tensor."""

    theirs: str
    """Their name; `{i}` stands for the layer, whose tensors are the slices of our stacked leaves."""
    ours: tuple[str, ...]
    """Our leaves, joined along the last axis to make theirs."""
    transposed: bool = False
    """Whether theirs is stored (out, in)."""


class NameMap(NamedTuple):
    """All tensors of a family. Rows whose leaves the model lacks do not apply."""

    rows: tuple[Row, ...]
    prefix: str
    """Stands before every name on the way out except those of `copies`; on the way in it may be missing."""
    buffers: str
    """Regular expression of names that are constants, not parameters: left out."""
    copies: Mapping[str, str]
    """Names that may repeat another tensor (a tied output): taken in when equal to it, never written."""

    def read(self, tensors: Mapping[str, np.ndarray], shapes: Mapping[str, Any]) -> dict[str, Any]:
        """Their tensors -> our tree, numpy float32, new memory. `shapes` is the model's tree of shapes.

        Raises JaxgptError with one line for every missing, unknown, misshaped or non-float tensor.
        """
        wanted = _shapes(shapes)
        held = {name.removeprefix(self.prefix): tensor for name, tensor in tensors.items()}
        held = {name: tensor for name, tensor in held.items() if not re.fullmatch(self.buffers, name)}
        rows = [row for row in self.rows if row.ours[0] in wanted]
        expected = {name: shape for row in rows for name, shape in _theirs(row, wanted).items()}
        problems = []
        for copy, original in self.copies.items():
            if copy in held and copy not in expected:
                tensor = held.pop(copy)
                if original in held and not np.array_equal(tensor, held[original]):
                    problems.append(f"{copy}: differs from {original}, but the model ties them; set model.tied=false")
        problems += _mismatches({name: tensor.shape for name, tensor in held.items()}, expected)
        problems += [
            f"{name}: {tensor.dtype} is not a floating type; give the unquantised weights"
            for name, tensor in held.items()
            if not jnp.issubdtype(tensor.dtype, jnp.floating)
        ]
        if problems:
            raise JaxgptError("\n".join(problems))
        leaves: dict[str, np.ndarray] = {}
        for row in rows:
            parts = [held[name] for name in _theirs(row, wanted)]
            joined = np.stack(parts) if "{i}" in row.theirs else parts[0]
            joined = joined.swapaxes(-1, -2) if row.transposed else joined
            cuts = np.cumsum([wanted[path][-1] for path in row.ours])[:-1]
            for path, leaf in zip(row.ours, np.split(joined, cuts, axis=-1), strict=True):
                leaves[path] = np.array(leaf, np.float32, order="C")
        return dict(unflatten_dict(leaves, sep="/"))

    def write(self, params: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Our tree -> their tensors in the table's order, dtype kept. Raises JaxgptError when the tree does not fit."""
        wanted = _shapes(shapes)
        leaves = {path: np.asarray(leaf) for path, leaf in flatten_dict(params, sep="/").items()}
        problems = _mismatches({path: leaf.shape for path, leaf in leaves.items()}, wanted)
        if problems:
            raise JaxgptError("\n".join(problems))
        out: dict[str, np.ndarray] = {}
        for row in self.rows:
            if row.ours[0] not in wanted:
                continue
            joined = np.concatenate([leaves[path] for path in row.ours], axis=-1)
            joined = joined.swapaxes(-1, -2) if row.transposed else joined
            names = list(_theirs(row, wanted))
            for name, tensor in zip(names, joined if "{i}" in row.theirs else [joined], strict=True):
                out[name if name in self.copies else self.prefix + name] = np.ascontiguousarray(tensor)
        return out


def _shapes(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {path: tuple(leaf.shape) for path, leaf in flatten_dict(tree, sep="/").items()}


def _theirs(row: Row, wanted: Shapes) -> dict[str, tuple[int, ...]]:
    """The names that a row stands for, in order of the layers, each with its shape."""
    first = wanted[row.ours[0]]
    shape = (*first[:-1], sum(wanted[path][-1] for path in row.ours))
    layers, shape = (shape[0], shape[1:]) if "{i}" in row.theirs else (1, shape)
    shape = shape[::-1] if row.transposed else shape
    return {row.theirs.format(i=i): shape for i in range(layers)}


def _mismatches(found: Shapes, wanted: Shapes) -> list[str]:
    """One line for each difference."""
    lines = [f"{name}: missing; the model needs it with shape {wanted[name]}" for name in wanted if name not in found]
    lines += [
        f"{name}: the model has no place for it; drop it or change the model" for name in found if name not in wanted
    ]
    lines += [
        f"{name}: shape {found[name]}, expected {wanted[name]}; give the model the sizes of the checkpoint"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    return lines
