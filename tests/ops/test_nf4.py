"""NF4 against plain numpy, number for number: what is rounded where is part of the format."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from jaxgpt.ops.nf4 import DYNAMIC_VALUES, VALUES
from jaxgpt.ops.nf4_weight import NF4Weight

SHAPES = {"whole columns": (128, 24), "blocks that cross rows": (80, 48), "a last block that is not whole": (33, 7)}


def weights(shape, seed=0):
    w = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / 8
    w[:, 1] = 0  # a block of zeros, where a column has one
    return w


def numpy_codes(w_IO):
    """Codes, bytes and scales as bitsandbytes counts them: over the flattened (O, I)."""
    flat = w_IO.T.reshape(-1)
    whole = flat.size - flat.size % 64
    blocks = flat[:whole].reshape(-1, 64)
    scales = np.abs(blocks).max(1, initial=0)
    scaled = (blocks * (1 / np.where(scales > 0, scales, np.float32(1)))[:, None]).reshape(-1)
    if whole < flat.size:
        last = np.maximum(np.abs(flat[whole:]).max(), np.float32(1e-38))
        scales, scaled = np.append(scales, last), np.append(scaled, flat[whole:] / last)
    codes = np.searchsorted((VALUES[1:] + VALUES[:-1]) / 2, scaled, side="left").astype(np.uint8)
    padded = np.append(codes, np.uint8([7] * (flat.size % 2)))
    return codes, (padded[::2] << 4) | padded[1::2], scales.astype(np.float32)


def numpy_nested(scales):
    """Codes of scales, their own scales, and the offset."""
    offset = np.float32(scales.sum(dtype=np.float64)) / np.float32(scales.size)
    blocks = np.pad(scales - offset, (0, -scales.size % 256)).reshape(-1, 256)
    own = np.abs(blocks).max(1)
    bounds = (DYNAMIC_VALUES[1:] + DYNAMIC_VALUES[:-1]) / 2
    steps = np.arange(65536, dtype=np.float32) / np.float32(32767.5) - 1
    at = np.floor((blocks / own[:, None] + 1) * np.float32(32767.5) + np.float32(0.5)).astype(int)
    return np.searchsorted(bounds, steps[at]).reshape(-1)[: scales.size], own, offset


def packed(leaf_RC):
    return np.asarray(leaf_RC).T.reshape(-1)


def compute(w, double):
    return jax.jit(NF4Weight.of, static_argnums=1)(w, double)


@pytest.mark.parametrize("name", SHAPES)
def test_numpy_agrees(name):
    w = weights(SHAPES[name])
    codes, in_bytes, scales = numpy_codes(w)
    ours = compute(w, False)
    np.testing.assert_array_equal(packed(ours.codes)[: in_bytes.size], in_bytes)
    np.testing.assert_array_equal(packed(ours.scales), scales)
    numbers = (VALUES[codes] * np.repeat(scales, 64)[: w.size]).reshape(w.T.shape).T
    np.testing.assert_array_equal(ours.astype(jnp.float32), numbers)

    double = compute(w, True)
    nested, own, offset = numpy_nested(scales)
    np.testing.assert_array_equal(packed(double.codes), packed(ours.codes))
    np.testing.assert_array_equal(packed(double.scales), nested)
    np.testing.assert_array_equal(double.nested, own)
    assert double.offset == offset
    scales = DYNAMIC_VALUES[nested] * np.repeat(own, 256)[: scales.size] + offset
    numbers = (VALUES[codes] * np.repeat(scales, 64)[: w.size]).reshape(w.T.shape).T
    np.testing.assert_array_equal(jax.jit(lambda stored: stored.astype(jnp.float32))(double), numbers)


def test_many_scales():
    """Enough of them that the last of their blocks is not whole, and that the order of their sum matters."""
    w = weights((1024, 40))
    _, _, scales = numpy_codes(w)
    ours = compute(w, True)
    nested, own, offset = numpy_nested(scales)
    assert ours.offset == offset
    np.testing.assert_array_equal(ours.nested, own)
    np.testing.assert_array_equal(packed(ours.scales), nested)


def test_zeros_stay_zeros():
    assert not np.any(compute(np.zeros((64, 3), np.float32), True).astype(jnp.float32))


def test_what_is_stored_once_is_stored_twice():
    """A dequantised matrix has the codes and the scales that it came from."""
    once = compute(weights((128, 24)), False)
    twice = compute(once.astype(jnp.float32), False)
    for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(twice), strict=True):
        np.testing.assert_array_equal(a, b)


def test_size():
    """4.127 bits a number: 0.26 of bfloat16's bytes."""
    w = jax.ShapeDtypeStruct((1024, 1024), jnp.float32)
    stored = jax.eval_shape(lambda w: NF4Weight.of(w, True), w)
    assert stored.shape == w.shape
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(stored))
    assert size == 1024 * 1024 // 2 + 1024 * 16 + 64 * 4 + 4
