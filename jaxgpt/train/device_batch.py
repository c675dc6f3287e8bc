"""From rows on hosts to a batch on all devices: each process makes the rows of its own devices and no others."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxgpt.text.batches.windows import Batch


def put(rows: Callable[[int, int], Batch], span: tuple[int, int], shardings: Callable[[Any], Any]) -> Any:
    """The rows from `span[0]` to `span[1] - 1` as global arrays (B, ...), each with the sharding that `shardings`
    (`Program.batch_shardings`) gives an array of its shape. Their ranks, lengths and dtypes may differ.

    `rows(start, stop)` makes some of them. It must be pure: processes whose devices hold the same rows each make them.
    """
    first, size = span[0], span[1] - span[0]
    by_row = shardings(jax.ShapeDtypeStruct((size,), np.int32))
    if by_row.is_fully_addressable:
        batch = rows(*span)
        return jax.device_put(batch, shardings(batch))

    def here(index: Any) -> tuple[int, int]:
        start, stop, _ = index[0].indices(size)
        return first + start, first + stop

    spans = {here(index) for index in by_row.addressable_devices_indices_map((size,)).values()}
    pieces = {piece: rows(*piece) for piece in sorted(spans)}
    some = next(iter(pieces.values()))
    shapes = {name: jax.ShapeDtypeStruct((size, *part.shape[1:]), part.dtype) for name, part in some.items()}

    def whole(name: str, sharding: jax.sharding.Sharding) -> jax.Array:
        cut = lambda index: pieces[here(index)][name][:, *index[1:]]  # noqa: E731
        return jax.make_array_from_callback(shapes[name].shape, sharding, cut)

    return {name: whole(name, sharding) for name, sharding in shardings(shapes).items()}
