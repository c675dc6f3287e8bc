"""Rows of tokens of any length through a model: longest first, in batches of few shapes. N rows."""

from collections import deque
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxgpt.terminal import Watch

SHORTEST = 8
"""Tokens of the narrowest batch."""
IN_FLIGHT = 2
"""Batches that the device works on while the host prepares the next."""
MOST_ROWS = 1_000_000
"""Of a batch."""
PATIENCE = 3.0
"""Seconds before progress is shown."""
Compute = Callable[[np.ndarray, int, int], jax.Array]
"""`(index, height, width)` -> (height, ...): what is computed of the rows at `index`, as a batch of so many rows, the
last ones there to fill up, of so many tokens."""
Done = Callable[[list[int], np.ndarray], None]
"""Called with the places of rows and what was computed of them."""


def by_length(
    lengths: Sequence[int],
    batch_size: int,
    limit: int,
    compute: Compute,
    verb: str,
    quiet: bool,
    done: Done | None = None,
    fine: bool = False,
) -> np.ndarray | None:
    """float32 (N, ...): what `compute` gives of rows of these lengths, each up to `limit`, in their order; None of no
    rows. Widths come two an octave, so that few programs are compiled, or eight where `fine`. Progress is
    shown once it has lasted a while, under the name `verb`; `done` is called with each batch."""
    total = len(lengths)
    order = np.argsort([-length for length in lengths], kind="stable")
    height = min(batch_size, 1 << (total - 1).bit_length()) if total else 0
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    flying: deque[tuple[np.ndarray, jax.Array]] = deque()
    ready = 0
    with Watch(verb, total=total, unit="texts", quiet=quiet, after=PATIENCE) as watch:
        for start in range(0, total, batch_size):
            index = order[start : start + batch_size]
            flying.append((index, compute(index, height, padded(lengths[index[0]], limit, fine))))
            while len(flying) > IN_FLIGHT or (flying and start + batch_size >= total):
                index, values = flying.popleft()
                parts.append((index, np.asarray(values, np.float32)[: len(index)]))
                if done is not None:
                    done(index.tolist(), parts[-1][1])
                ready += len(index)
                watch.update(ready)
    if not parts:
        return None
    out = np.empty((total, *parts[0][1].shape[1:]), np.float32)
    for index, part in parts:
        out[index] = part
    return out


def padded(longest: int, limit: int, fine: bool = False) -> int:
    """The next of 8, 12, 16, 24, 32, 48, ...: powers of two and those half as much again; where `fine`, of 8, 9, 10,
    ... 16, 18, 20, ..., eight an octave."""
    octave = max(SHORTEST, 1 << max(longest - 1, 1).bit_length() - 1)
    step = octave // (8 if fine else 2)
    return min(max(SHORTEST, -(-longest // step) * step), limit)
