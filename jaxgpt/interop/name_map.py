"""A two-way map between our parameter tree and another library's flat names.

Our blocks are stored once with the layer as leading axis, theirs layer by layer; theirs may fuse several of our
matrices into one. Both are read off one table, so whatever comes in goes out bit for bit.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.interop.finite import fault, is_finite
from jaxgpt.interop.rotary_pairing import to_half, to_interleaved
from jaxgpt.interop.source import Put
from jaxgpt.interop.tensors import Tensor, Tensors, in_memory
from jaxgpt.spec import JaxgptError

Shapes = Mapping[str, tuple[int, ...]]

ALIGNMENT = 64
"""Bytes: where a leaf's memory starts. A CPU's jax takes such an array as it is instead of copying it."""
MOST_LINES = 20
"""Of an error."""
SLICE = 4096
"""Rows that are compared at once."""


class Row(NamedTuple):
    """One kind of tensor: its name in their files and its path in ours."""

    theirs: str
    """Their name; `{i}` stands for the layer, whose tensors are the slices of our stacked leaves."""
    ours: tuple[str, ...]
    """Our leaves, joined along the last axis to make theirs."""
    transposed: bool = False
    """Whether theirs is stored (out, in)."""
    bare: bool = False
    """Whether the name stands without the map's prefix."""
    blocks: int = 1
    """Parts that each leaf's last axis is cut into before they are joined, taken from all leaves in turn. With as many
    as there are heads, a head's query, key and value lie side by side (GPT-NeoX, BLOOM)."""
    paired: int = 0
    """Heads whose rotary pairs are neighbouring channels with us, and with them a half head apart; 0: none."""


class NameMap(NamedTuple):
    """All tensors of a family. Rows whose leaves the model lacks do not apply."""

    rows: tuple[Row, ...]
    prefix: str
    """Stands before every name that is not bare on the way out; on the way in it may be missing."""
    buffers: str
    """Regular expression of names that are constants, not parameters: left out."""
    copies: Mapping[str, str]
    """Names that may repeat another tensor (a tied output), or stand for it: taken in when equal, never written."""
    renames: tuple[tuple[str, str], ...] = ()
    """Regular expressions that older files' names hold, and what stands there today."""

    def read(
        self,
        tensors: Tensors | Mapping[str, np.ndarray],
        shapes: Mapping[str, Any],
        dtype: str = "float32",
        put: Put | None = None,
    ) -> dict[str, Any]:
        """Turns their tensors into our tree in `dtype`, in new memory, one leaf at a time. `shapes` is the model's tree
        of shapes.

        A leaf is filled layer by layer, given to `put` with its path (None: kept as numpy) and let go, so memory peaks
        at one copy of the model and one leaf. Raises JaxgptError, before anything is read but tensors that may be
        copies, with one line for every missing, unknown, misshaped or non-float tensor; and, as it is read, for the
        first that is not finite.
        """
        wanted = _shapes(shapes)
        given = {self.today(name): _lazy(tensor, name) for name, tensor in tensors.items()}
        given = {name: tensor for name, tensor in given.items() if not re.fullmatch(self.buffers, name)}
        rows = [row for row in self.rows if row.ours[0] in wanted]
        expected = {name: shape for row in rows for name, shape in _theirs(row, wanted).items()}
        counts = Counter(map(self.today, tensors))
        problems = [f"{name}: there {n} times, by other names; keep one" for name, n in counts.items() if n > 1]
        for copy, original in self.copies.items():
            if copy in given and copy not in expected:
                tensor = given.pop(copy)
                if not _equal(tensor, given.setdefault(original, tensor)):
                    problems.append(
                        f"{copy}: differs from {original}, but tie_word_embeddings says that they are one; "
                        "set it false in config.json"
                    )
        problems += _mismatches({name: tensor.shape for name, tensor in given.items()}, expected)
        problems += [
            f"{name}: {tensor.dtype} is not a floating type; give the unquantised weights"
            for name, tensor in given.items()
            if not jnp.issubdtype(tensor.dtype, jnp.floating)
        ]
        if problems:
            raise JaxgptError(listed(problems))
        leaves: dict[str, Any] = {}
        for row in rows:
            start = 0
            for path in row.ours:
                width = wanted[path][-1] // row.blocks
                leaf = _aligned(wanted[path], jnp.dtype(dtype))
                names = list(_theirs(row, wanted))
                for name, part in zip(names, leaf if "{i}" in row.theirs else [leaf], strict=True):
                    stored = given[name].read()
                    _fill(part, stored, row, start, width)
                    if not is_finite(part):
                        raise JaxgptError(fault(name, stored, dtype))
                start += width
                leaves[path] = leaf if put is None else put(path, leaf)
                del leaf, part, stored
        return dict(unflatten_dict(leaves, sep="/"))

    def today(self, name: str) -> str:
        """A tensor's name as the rows have it: without the prefix, in today's spelling."""
        for old, new in self.renames:
            name = re.sub(old, new, name)
        return name.removeprefix(self.prefix)

    def write(self, params: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Our tree -> their tensors in the table's order, dtype kept. Raises JaxgptError when the tree does not fit."""
        wanted = _shapes(shapes)
        leaves = {path: np.asarray(leaf) for path, leaf in flatten_dict(params, sep="/").items()}
        problems = _mismatches({path: leaf.shape for path, leaf in leaves.items()}, wanted)
        if problems:
            raise JaxgptError(listed(problems))
        out: dict[str, np.ndarray] = {}
        for row in self.rows:
            if row.ours[0] not in wanted:
                continue
            parts = [leaves[path] for path in row.ours]
            for i, name in enumerate(_theirs(row, wanted)):
                layer = [part[i] for part in parts] if "{i}" in row.theirs else parts
                out[name if row.bare else self.prefix + name] = np.ascontiguousarray(_join(layer, row))
        return out


def _lazy(tensor: Tensor | np.ndarray, name: str) -> Tensor:
    return tensor if isinstance(tensor, Tensor) else in_memory({name: tensor})[name]


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    x, y = a.read(), b.read()
    return all(np.array_equal(x[i : i + SLICE], y[i : i + SLICE]) for i in range(0, len(x), SLICE))


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory for an array, not filled."""
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.empty(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)


def _fill(ours: np.ndarray, theirs: np.ndarray, row: Row, start: int, width: int) -> None:
    """Writes into `ours`, one layer of a leaf, what of their tensor is its. `start` and `width` are the leaf's share of
    a block."""
    lead = ours.shape[:-1]
    theirs = to_interleaved(theirs, row.paired) if row.paired else theirs
    x = theirs.T if row.transposed else theirs
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused by the caller
        ours.reshape(*lead, row.blocks, width)[...] = x.reshape(*lead, row.blocks, -1)[..., start : start + width]


def _join(ours: list[np.ndarray], row: Row) -> np.ndarray:
    """One layer of a row's leaves as their tensor."""
    lead = ours[0].shape[:-1]
    joined = np.concatenate([x.reshape(*lead, row.blocks, -1) for x in ours], axis=-1).reshape(*lead, -1)
    theirs = joined.T if row.transposed else joined
    return to_half(theirs, row.paired) if row.paired else theirs


def listed(problems: list[str]) -> list[str]:
    """The lines of an error, as far as there are not too many to read."""
    more = len(problems) - MOST_LINES
    return problems if more <= 0 else [*problems[:MOST_LINES], f"... and {more} more"]


def _shapes(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {path: tuple(leaf.shape) for path, leaf in flatten_dict(tree, sep="/").items()}


def _theirs(row: Row, wanted: Shapes) -> dict[str, tuple[int, ...]]:
    """The names that a row stands for, in order of the layers, each with its shape."""
    first = wanted[row.ours[0]]
    shape = (*first[:-1], sum(wanted[path][-1] for path in row.ours))
    layers, shape = (shape[0], shape[1:]) if "{i}" in row.theirs else (1, shape)
    shape = shape[::-1] if row.transposed else shape
    return {row.theirs.format(i=i): shape for i in range(layers)}


def _mismatches(given: Shapes, wanted: Shapes) -> list[str]:
    """One line for each difference."""
    lines = [f"{name}: missing; the model needs it with shape {wanted[name]}" for name in wanted if name not in given]
    lines += [
        f"{name}: the model has no place for it; drop it or change the model" for name in given if name not in wanted
    ]
    lines += [
        f"{name}: shape {given[name]}, expected {wanted[name]} by the model's configuration; one of them is wrong"
        for name in wanted
        if name in given and given[name] != wanted[name]
    ]
    return lines
