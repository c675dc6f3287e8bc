"""From rows on hosts to a batch on all devices: each process makes the rows of its own devices and no others."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from jaxgpt.text.batches.windows import Batch


def put(
    rows: Callable[[int, int], Batch], span: tuple[int, int], length: int, sharding: Sharding
) -> dict[str, jax.Array]:
    """The rows from `span[0]` to `span[1] - 1` as global arrays (B, T), T = `length`, laid out as `sharding` says.

    `rows(start, stop)` makes some of them. It must be pure: processes whose devices hold the same rows each make them.
    """
    first, size = span[0], span[1] - span[0]
    if sharding.is_fully_addressable:
        return jax.device_put(rows(*span), sharding)

    def here(index: Any) -> tuple[int, int]:
        start, stop, _ = index[0].indices(size)
        return first + start, first + stop

    shape = (size, length)
    places = sharding.addressable_devices_indices_map(shape).values()
    held = {piece: rows(*piece) for piece in sorted({here(index) for index in places})}

    def part(name: str) -> Callable[[Any], np.ndarray]:
        return lambda index: held[here(index)][name][:, index[1]]

    names = next(iter(held.values()))
    return {name: jax.make_array_from_callback(shape, sharding, part(name)) for name in names}
