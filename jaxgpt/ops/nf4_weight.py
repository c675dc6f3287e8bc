"""A weight matrix in NF4, as what stands for it in a tree of parameters. I inputs, O outputs."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxgpt.ops.nf4 import (
    BLOCK,
    NestedScales,
    dequantize,
    dequantize_scales,
    quantize,
    quantize_scales,
)
from jaxgpt.ops.stored import Stored


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["codes", "scales", "nested", "offset"],
    meta_fields=["matrix"],
)
@dataclass(frozen=True, eq=False)
class NF4Weight(Stored):
    """(..., I, O) in blocks of 64 over the flattened (O, I), as bitsandbytes counts them.

    Where I is a multiple of 64 the blocks are runs of a column, and the arrays have its axes; else they run on from one
    output to the next, and the arrays have one column, padded to whole blocks.
    """

    codes: jax.Array
    """uint8 (..., I/2, O)."""
    scales: jax.Array
    """float32 (..., I/64, O), or uint8 where they are quantised themselves."""
    nested: jax.Array | None
    """float32 (..., N): of 256 scales each, where those are quantised."""
    offset: jax.Array | None
    """float32 (...): what was taken off scales before that."""
    matrix: tuple[int, int]
    """(I, O)."""

    @classmethod
    def of(cls, w_IO: jax.Array, double: bool) -> "NF4Weight":
        """A float matrix quantised. `double`: its scales too."""
        inputs, outputs = w_IO.shape
        if inputs % BLOCK == 0:
            codes, scales = quantize(w_IO)
        else:
            flat = jnp.pad(w_IO.T.reshape(-1, 1), ((0, -w_IO.size % BLOCK), (0, 0)))
            codes, scales = quantize(flat, w_IO.size)
        if not double:
            return cls(codes, scales, None, None, (inputs, outputs))
        nested = quantize_scales(scales)
        return cls(codes, nested.codes, nested.scales, nested.offset, (inputs, outputs))

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., I, O)."""
        return (*self.codes.shape[:-2], *self.matrix)

    def astype(self, dtype: DTypeLike) -> jax.Array:
        """(..., I, O), computed in float32 and rounded to `dtype`."""
        if self.codes.ndim > 2:
            return jax.vmap(lambda each: each.astype(dtype))(self)
        scales = self.scales
        if self.nested is not None and self.offset is not None:
            scales = dequantize_scales(NestedScales(self.scales, self.nested, self.offset))
        w = dequantize(self.codes, scales)
        if w.shape != self.matrix:
            inputs, outputs = self.matrix
            w = w.reshape(-1)[: inputs * outputs].reshape(outputs, inputs).T
        return w.astype(dtype)
