"""Which parameters are matrices and tables: those that weights decay in, and in blocks those that Muon is for."""

import re
from typing import Any

import jax

from jaxgpt.ops.sharding import path_name
from jaxgpt.parallel.rules import LAYERS

STACKED = (LAYERS, r"experts/")
"""Parts of a path below which leaves have one leading axis more: the layer, the expert."""


def is_matrix(path: tuple[Any, ...], leaf: Any) -> bool:
    """Whether the parameter at a tree path is a matrix or table within its layer, and neither biases nor gains."""
    name = path_name(path)
    rank = leaf.ndim - sum(re.search(part, name) is not None for part in STACKED)
    return rank > 1 and name.rpartition("/")[2] not in ("bias", "scale")


def decayed(params: Any) -> Any:
    """The weight decay mask of a parameter tree."""
    return jax.tree_util.tree_map_with_path(is_matrix, params)


def in_blocks(path: tuple[Any, ...]) -> bool:
    """Whether a tree path leads to a parameter of a layer."""
    return re.search(LAYERS, path_name(path)) is not None
