"""What kernels cost on a GPU, estimated from what was measured on one: for choosing between them.

Measured on one H200, jax 0.11.2, 2026-11-28, as `bench/gpu.py --only attention` does: one row, 8 heads of width 128,
bfloat16, forward and backward. The model, a price for every pair in a visited tile and one for every token of a call,
gives the measured times back within a sixth at 16,384 tokens and within a third or so at 8,192.
"""

import numpy as np

from jaxgpt.ops.attention.block_sparse.plan import visited
from jaxgpt.ops.attention.cudnn_parts.fused import FEWEST
from jaxgpt.ops.patterns import Mask, Pattern, calls

TILE = 128
"""Queries and keys of cuDNN's tiles."""
PAIR = {"cudnn": 2.9e-3, "block_sparse": 37e-3, "plain": 15e-3}
"""Nanoseconds a pair of a query and a key in visited tiles, for one head.

cudnn: causal, 1.215 ms at 8,192 tokens and 3.532 at 16,384, the difference. block_sparse, at 16,384: banded (window
1024) 5.586, strided (l 128) 1.736, fixed (l 128, c 32) 10.508. plain: not measured; scores that are written out and
read, as `chunked` and `reference` do, at 0.4 of block_sparse, which gathers besides."""
TOKEN = 3.3
"""Nanoseconds a token of a cuDNN call, for one head: a band of 1,024 at 16,384 tokens takes 0.871 ms, so much more than
its pairs. It stands for reading and writing a call's arrays, and for starting it."""


def parts_cost(pattern: Pattern, length: int) -> float:
    """Nanoseconds for a row of `length` and a head by `cudnn_parts`; infinite where it cannot."""
    total = 0.0
    for call in calls(pattern, length) or ():
        (rows, T, lanes), (_, S, _) = (tokens.positions(length).shape for tokens in (call.queries, call.keys))
        if min(T, S) < FEWEST:
            total += rows * lanes * (T * S * PAIR["plain"] + (T + S) / 2 * TOKEN)
        else:
            total += rows * lanes * (visited_pairs(T, S, call.mask) * PAIR["cudnn"] + (T + S) / 2 * TOKEN)
    return total or float("inf")


def sparse_cost(pattern: Pattern, length: int, block: int) -> float:
    """Nanoseconds for a row of `length` and a head by `block_sparse`."""
    return visited(pattern, length, block) * length**2 * PAIR["block_sparse"]


def plain_cost(queries: int, keys: int) -> float:
    """Nanoseconds for a row and a head by `chunked` or `reference`, which on a GPU compute every pair."""
    return queries * keys * PAIR["plain"]


def visited_pairs(queries: int, keys: int, mask: Mask) -> int:
    """Pairs in the tiles that cuDNN computes for a call: those that hold a pair which the mask allows."""
    first = np.arange(0, queries, TILE)
    last = np.minimum(first + TILE, queries) - 1
    stop = np.minimum(last + 1, keys) if mask.causal else np.full(first.shape, keys)
    start = np.zeros_like(first) if mask.window is None else np.maximum(first - mask.window + 1, 0)
    return int((-(-stop // TILE) - np.minimum(start, stop - 1) // TILE).sum()) * TILE**2
