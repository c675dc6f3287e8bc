"""A weight matrix in bfloat16, as what stands for it in a tree of parameters. I inputs, O outputs."""

from dataclasses import dataclass
from functools import partial

import jax
from jax.typing import DTypeLike

from jaxgpt.ops.stored import Stored


@partial(jax.tree_util.register_dataclass, data_fields=["numbers"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Rounded(Stored):
    """(..., I, O) in a narrower dtype than is computed in."""

    numbers: jax.Array
    """(..., I, O)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., I, O)."""
        return self.numbers.shape

    def astype(self, dtype: DTypeLike) -> jax.Array:
        """(..., I, O)."""
        return self.numbers.astype(dtype)
