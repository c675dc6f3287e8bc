"""Tensors by name, none of them read yet: what a checkpoint of any format is to a name map."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgpt.spec import JaxgptError


class Tensor(NamedTuple):
    """One tensor of a checkpoint: known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype
    """Of what `read` returns; bfloat16 is `ml_dtypes`'."""
    read: Callable[[], np.ndarray]
    """The numbers, of that shape and dtype; may be a read-only view of the file. Not kept: each call reads afresh."""


def mapped(path: Path, dtype: np.dtype, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """A read-only view of a part of a file. Raises JaxgptError where the file no longer holds it."""
    if 0 in shape:
        return np.empty(shape, dtype)
    try:
        return np.memmap(path, dtype, "r", offset, shape).view(np.ndarray)
    except (OSError, ValueError) as error:
        raise JaxgptError(f"{path}: changed while it was read: {error}") from None


Tensors = Mapping[str, Tensor]


def in_memory(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays that are in memory, as tensors."""
    return {name: Tensor(array.shape, array.dtype, partial(np.asarray, array)) for name, array in arrays.items()}
