"""An adapter merged into the weights that it stands on, and taken out of them again: functions of trees, in NumPy.

Sums are taken in float64 and rounded once, to the dtype that the base's weights have: float32 of those in four bits.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgpt.nn.adapter import Adapter
from jaxgpt.ops.stored import as_arrays
from jaxgpt.peft.targets import ADAPTER, adapted

Leaves = dict[str, np.ndarray]


class Merged(NamedTuple):
    """Weights without an adapter that compute what they did with it, and what the merge has rounded away."""

    params: Any
    error: float
    """The largest rounding error of a merged array, as a share of its largest value."""
    lost: float
    """The same as a share of the largest change that the adapter makes to that array: 1 where all of it is lost."""
    own: Leaves
    """The adapter's parameters, by path."""
    undo: Leaves
    """What else the way back needs."""


def merge(adapter: Adapter, params: Any) -> Merged:
    """The weights of a model with the adapter, without it. Raises ConfigError for one that is no change of weights."""
    base = {path: np.asarray(leaf) for path, leaf in flatten_dict(as_arrays(params), sep="/").items()}
    own = {path: base.pop(path) for path in list(base) if ADAPTER in path}
    undo: Leaves = {}
    error = lost = 0.0
    for at in adapted(own):
        for path, exact in _changed(adapter, at, base, own, back=False).items():
            if path not in base:
                undo[path] = exact
                continue
            before, base[path] = base[path], exact.astype(base[path].dtype)
            off = np.abs(base[path].astype(np.float64) - exact).max()
            error, lost = max(error, _share(off, exact)), max(lost, _share(off, exact - before.astype(np.float64)))
    return Merged(unflatten_dict(base, sep="/"), error, lost, own, undo)


def unmerge(adapter: Adapter, merged: Merged) -> Any:
    """The weights with the adapter beside them again: the base is what it was, but for rounding."""
    base = {path: np.asarray(leaf) for path, leaf in flatten_dict(merged.params, sep="/").items()}
    for at in adapted(merged.own):
        for path, exact in _changed(adapter, at, base, merged.own | merged.undo, back=True).items():
            base[path] = exact.astype(base[path].dtype)
    return unflatten_dict(base | merged.own, sep="/")


def _changed(adapter: Adapter, at: str, base: Leaves, own: Leaves, back: bool) -> Mapping[str, np.ndarray]:
    """What the adapter makes of the arrays of one place."""
    return adapter.merged(at, _Wide(base | own), back)


class _Wide(Mapping[str, np.ndarray]):
    """Arrays as float64, each when it is read: of a large model one at a time."""

    def __init__(self, arrays: Leaves):
        self._arrays = arrays

    def __getitem__(self, path: str) -> np.ndarray:
        return self._arrays[path].astype(np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, path: object) -> bool:
        return path in self._arrays


def _share(off: float, of: np.ndarray) -> float:
    return float(off / np.abs(of).max()) if off else 0.0
