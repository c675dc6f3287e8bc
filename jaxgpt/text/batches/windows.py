"""Rows of token files: pure functions from (file, start) to arrays, and from (seed, row) to (source, start).

Legend: B rows, T tokens a row, S = T + 1 the row and its last target.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from jaxgpt.text.batches.tokenfile import TokenFile

if TYPE_CHECKING:
    import grain

Batch = dict[str, np.ndarray]


def grid(count: int, length: int, shuffle: bool) -> tuple[int, int]:
    """`(windows, slack)`: how many windows of `length` inputs and one more target an epoch takes from `count` tokens,
    and how far their grid may shift. Without shuffling the grid stands still and leaves out the least."""
    if not shuffle:
        return (count - 1) // length, 0
    windows = max(1, (count - length) // length)
    return windows, count - 1 - windows * length


@lru_cache(maxsize=16)
def window_order(windows: tuple[int, ...], weights: tuple[float, ...], seed: int, shuffle: bool) -> "grain.MapDataset":
    """Row -> (source, epoch of that source, window). Every window once an epoch, sources mixed by weight."""
    import grain

    def source(index: int) -> "grain.MapDataset":
        count = windows[index]
        order = grain.MapDataset.range(count).seed(_mix(seed, index))
        order = (order.shuffle() if shuffle else order).repeat(reseed_each_epoch=True)
        return order.map_with_index(lambda row, window: (index, row // count, window))

    sources = [source(index) for index in range(len(windows))]
    return sources[0] if len(sources) == 1 else grain.MapDataset.mix(sources, weights=weights)


@lru_cache(maxsize=4096)
def grid_shift(seed: int, source: int, epoch: int, slack: int) -> int:
    """Where an epoch's grid begins: uniform over 0..slack, so that epochs cut the text at different places."""
    return _mix(seed, source, epoch) % (slack + 1)


def _mix(*numbers: int) -> int:
    """32 well-mixed bits: neighbouring seeds and epochs must not share an order."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def cut(file: TokenFile, starts_B: np.ndarray, length: int, separate: bool) -> Batch:
    """Rows that begin at `starts_B`. Where one runs past the end of the file, inputs are 0 and weights 0.

    Returns `tokens`, `targets` int32 (B, T) and `weights` float32 (B, T), which is 0 where the target is missing or, if
    `separate`, belongs to the next document. `separate` adds int32 (B, T) `segments`, from 1 in each row and 0 for
    padding, and `positions`, from 0 in each segment.
    """
    at_BS = starts_B[:, None] + np.arange(length + 1)
    inside_BS = at_BS < len(file.ids_N)
    whole = bool(inside_BS.all())
    ids_BS = file.ids_N[at_BS if whole else np.minimum(at_BS, len(file.ids_N) - 1)].astype(np.int32)
    scored_BT = inside_BS[:, 1:]
    if not whole:
        ids_BS *= inside_BS
    batch = {"tokens": ids_BS[:, :-1], "targets": ids_BS[:, 1:]}
    if separate:
        document_BS = np.searchsorted(file.starts_D, at_BS, side="right")
        first_BT = np.maximum(file.starts_D[document_BS[:, :-1] - 1], starts_B[:, None])
        scored_BT = scored_BT & (document_BS[:, 1:] == document_BS[:, :-1])
        batch["segments"] = ((document_BS[:, :-1] - document_BS[:, :1] + 1) * inside_BS[:, :-1]).astype(np.int32)
        batch["positions"] = ((at_BS[:, :-1] - first_BT) * inside_BS[:, :-1]).astype(np.int32)
    return {name: np.ascontiguousarray(rows) for name, rows in batch.items()} | {
        "weights": scored_BT.astype(np.float32)
    }


def gather(
    files: Sequence[TokenFile], source_B: np.ndarray, starts_B: np.ndarray, length: int, separate: bool
) -> Batch:
    """`cut` for rows of several files, in the order given."""
    if len(files) == 1 or not len(starts_B):
        return cut(files[0], starts_B, length, separate)
    out: Batch = {}
    for index in np.unique(source_B):
        rows = source_B == index
        for name, part in cut(files[index], starts_B[rows], length, separate).items():
            out.setdefault(name, np.empty((len(starts_B), *part.shape[1:]), part.dtype))[rows] = part
    return out


def with_words(batch: Batch, starts_V: np.ndarray | None) -> Batch:
    """`batch` and `words`, int32 (B, T): the number of each token's word in its row, from 1, and 0 for special tokens
    and padding. As it is where `starts_V` (`Codec.word_starts`) is None."""
    if starts_V is None:
        return batch
    starts_BT = starts_V[batch["tokens"]]
    real_BT = starts_BT > 0
    if "segments" in batch:
        real_BT &= batch["segments"] > 0
    before_BT = np.pad(real_BT, ((0, 0), (1, 0)))[:, :-1]
    begins_BT = real_BT & ((starts_BT == 1) | ~before_BT)
    return {**batch, "words": (begins_BT.cumsum(1) * real_BT).astype(np.int32)}
