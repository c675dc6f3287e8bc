"""NF4: numbers of four bits, sixteen quantiles of a normal distribution, scaled block by block (QLoRA).

Dettmers et al. 2023, section 3. Codes, scales and nested scales are those of bitsandbytes 0.50 on a CPU, bit for bit,
but for the last bit of a mean, whose order of summation is its own.

A matrix (R, C) is cut into blocks of 64 numbers down its columns, so R is a multiple of 64. Two codes share a byte, the
upper one first in the high bits: codes uint8 (R/2, C), scales float32 (R/64, C).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BLOCK = 64
"""Numbers that share a scale."""
NESTED_BLOCK = 256
"""Scales that share a scale of their own."""
VALUES = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    np.float32,
)
"""What the codes stand for (QLoRA, appendix E)."""
_BOUNDS = (VALUES[1:] + VALUES[:-1]) / 2
LEAST = np.float32(1e-38)
"""What a block of zeros is divided by."""
_STEPS = np.float32(32767.5)
"""Half the steps to which a scale is rounded before its code is looked up."""


def _dynamic_values() -> np.ndarray:
    """256 numbers from -0.993 to 1: of each power of ten twice as many as of the one below (Dettmers et al. 2022,
    8-bit optimizers, section 2.2)."""
    numbers = [0.0, 1.0]
    for i in range(7):
        start, n = np.float64(np.float32(0.1)), np.arange(2**i + 1)
        step = np.float64((np.float32(1) - np.float32(0.1)) / np.float32(2**i))
        edges = np.where(n < n.size // 2, start + step * n, 1 - step * (2**i - n)).astype(np.float32)
        means = np.float32(10.0 ** (i - 6)) * ((edges[:-1] + edges[1:]) / np.float32(2))
        numbers += [*means, *-means]
    return np.sort(np.array(numbers, np.float32))


DYNAMIC_VALUES = _dynamic_values()
"""What the codes of scales stand for."""
_DYNAMIC_STEPS = np.searchsorted(
    np.searchsorted((DYNAMIC_VALUES[1:] + DYNAMIC_VALUES[:-1]) / 2, np.arange(65536, dtype=np.float32) / _STEPS - 1),
    np.arange(255),
    side="right",
).astype(np.int32)
"""(255,) the first of 65,536 equal steps from -1 to 1 that has each next code."""


class NestedScales(NamedTuple):
    """Scales (R/64, C), quantised themselves."""

    codes: jax.Array
    """uint8 (R/64, C)."""
    scales: jax.Array
    """float32 (N,): of 256 codes each, counted along the rows of the transposed matrix of them."""
    offset: jax.Array
    """float32 scalar: the mean of the scales, which is taken off first."""


def quantize(w_RC: jax.Array, count: int | None = None) -> tuple[jax.Array, jax.Array]:
    """Codes and scales of a matrix. `count`: of a single column, numbers that are not padding (default: all)."""
    R, C = w_RC.shape
    blocks = w_RC.astype(jnp.float32).reshape(R // BLOCK, BLOCK, C)
    scales = jnp.max(jnp.abs(blocks), 1)
    scaled = blocks * (1 / jnp.where(scales > 0, scales, 1))[:, None]
    if count is not None and count % BLOCK:  # bitsandbytes divides a last block that is not whole
        scales = scales.at[-1].max(LEAST)
        scaled = scaled.at[-1].set(blocks[-1] / scales[-1])
    codes = sum((scaled > bound).astype(jnp.uint8) for bound in _BOUNDS)
    pairs = jnp.asarray(codes).reshape(R // 2, 2, C)
    return (pairs[:, 0] << 4) | pairs[:, 1], scales


def quantize_scales(scales_BC: jax.Array, offset: jax.Array | None = None) -> NestedScales:
    """Scales quantised to eight bits around their mean, or around `offset`. The result is the same on any mesh."""
    flat = scales_BC.T.reshape(-1)
    if offset is None:  # by a barrier, or XLA would multiply by a rounded reciprocal
        offset = _total(flat) / lax.optimization_barrier(jnp.float32(flat.size))
    padded = jnp.pad(flat - offset, (0, -flat.size % NESTED_BLOCK)).reshape(-1, NESTED_BLOCK)
    scales = jnp.max(jnp.abs(padded), 1)
    scaled = padded / jnp.where(scales > 0, scales, 1)[:, None]
    steps = jnp.floor((scaled + 1) * _STEPS + np.float32(0.5)).astype(jnp.int32)
    codes = jnp.searchsorted(_DYNAMIC_STEPS, steps, side="right").astype(jnp.uint8).reshape(-1)[: flat.size]
    return NestedScales(codes.reshape(scales_BC.T.shape).T, scales, offset)


def dequantize_scales(nested: NestedScales) -> jax.Array:
    """float32 (R/64, C)."""
    B, C = nested.codes.shape
    scales = jnp.repeat(nested.scales, NESTED_BLOCK)[: B * C].reshape(C, B).T
    product = jnp.asarray(DYNAMIC_VALUES)[nested.codes] * scales
    return jnp.where(product == product, product, 0) + nested.offset  # apart, for one fused operation rounds once


def dequantize(codes: jax.Array, scales_BC: jax.Array) -> jax.Array:
    """float32 (R, C)."""
    B, C = scales_BC.shape
    pairs = jnp.stack([codes >> 4, codes & 15], 1)
    return (jnp.asarray(VALUES)[pairs].reshape(B, BLOCK, C) * scales_BC[:, None]).reshape(B * BLOCK, C)


def _total(x: jax.Array) -> jax.Array:
    """The sum, rounded once: halves are added with what each addition loses, in an order that no mesh changes."""
    size = 1 << max(x.size - 1, 0).bit_length()
    total, lost = jnp.pad(x, (0, size - x.size)), jnp.zeros((size,), jnp.float32)
    while total.size > 1:
        a, b = jnp.split(total, 2)
        total = a + b
        part = total - a
        lost = sum(jnp.split(lost, 2)) + ((a - (total - part)) + (b - part))
    return (total + lost)[0]
