"""From rows on hosts to a batch on all devices: each process makes the rows of its own devices and no others."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.text.batches.windows import Batch


def put(rows: Callable[[int, int], Batch], span: tuple[int, int], sharding: NamedSharding) -> dict[str, jax.Array]:
    """The rows from `span[0]` to `span[1] - 1` as global arrays (B, T), laid out as `sharding` says; T and the dtype
    are each array's own.

    `rows(start, stop)` makes some of them. It must be pure: processes whose devices hold the same rows each make them.
    """
    first, size = span[0], span[1] - span[0]
    if sharding.is_fully_addressable:
        return jax.device_put(rows(*span), sharding)

    def here(index: Any) -> tuple[int, int]:
        start, stop, _ = index[0].indices(size)
        return first + start, first + stop

    by_row = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[:1]))
    places = by_row.addressable_devices_indices_map((size,)).values()
    pieces = {piece: rows(*piece) for piece in sorted({here(index) for index in places})}

    def whole(name: str, part: np.ndarray) -> jax.Array:
        cut = lambda index: pieces[here(index)][name][:, *index[1:]]  # noqa: E731
        return jax.make_array_from_callback((size, *part.shape[1:]), sharding, cut)

    return {name: whole(name, part) for name, part in next(iter(pieces.values())).items()}
