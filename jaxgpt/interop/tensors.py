"""Tensors by name, none of them read yet: what a checkpoint of any format is to a name map."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np


class Tensor(NamedTuple):
    """One tensor of a checkpoint: known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype
    """Of what `read` returns; bfloat16 is `ml_dtypes`'."""
    read: Callable[[], np.ndarray]
    """The numbers, of that shape and dtype; may be a read-only view of the file. Not kept: each call reads afresh."""


Tensors = Mapping[str, Tensor]


def held(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays that are in memory, as tensors."""
    return {name: Tensor(array.shape, array.dtype, partial(np.asarray, array)) for name, array in arrays.items()}
