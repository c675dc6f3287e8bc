"""Auxiliary losses that modules sow into the collection `losses`."""

from typing import Any

import jax

Losses = dict[str, jax.Array]
"""Auxiliary losses by name, float32 scalars."""


def sown_losses(sown: Any) -> Losses:
    """Sums by the last name of each path, whichever modules of the tree sowed them; none where nothing was."""
    losses: dict[str, list[jax.Array]] = {}
    for path, value in jax.tree_util.tree_leaves_with_path(sown):
        names = [part.key for part in path if isinstance(part, jax.tree_util.DictKey)]
        losses.setdefault(names[-1], []).append(value)
    return {name: sum(values[1:], values[0]) for name, values in losses.items()}
