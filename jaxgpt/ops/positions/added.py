"""Positions that are added to the token embeddings, and none at all."""

import jax
import numpy as np
from jax.typing import DTypeLike
from pydantic import PositiveFloat

from jaxgpt.ops.positions.position import Added, Position, PositionEmbedding
from jaxgpt.spec.sizes import Index


class Learned(PositionEmbedding):
    """A trained vector for each position up to the model's context."""

    citation = "Radford et al. 2018, section 4.1; Gehring et al. 2017"
    init_std: PositiveFloat = 0.02
    """Standard deviation of the normal start; openai/gpt-2 model.py uses 0.01."""
    offset: Index = 0
    """Rows of the table before that of position 0, never read: RoBERTa's positions start behind its padding id."""

    @property
    def first_row(self) -> int:
        """The row behind `offset` others."""
        return self.offset

    def start(self, key: jax.Array, shape: tuple[int, int], dtype: DTypeLike) -> jax.Array:
        """Normal, of deviation `init_std`."""
        return jax.nn.initializers.normal(self.init_std)(key, shape, dtype)


class Sinusoidal(Added):
    """Sines and cosines of geometrically growing wavelengths, interleaved."""

    citation = "Vaswani et al. 2017, section 3.5"

    def table(self, length: int, d_model: int) -> np.ndarray:
        """PE(p, 2i) = sin(p / 10000^(2i/D)), PE(p, 2i+1) = cos of the same."""
        angle = np.arange(length)[:, None] / 10000 ** (np.arange(0, d_model, 2) / d_model)
        out = np.zeros((length, d_model), np.float32)
        out[:, 0::2] = np.sin(angle)
        out[:, 1::2] = np.cos(angle[:, : d_model // 2])
        return out


class NoPosition(Position, kind="none"):
    """No position at all: a causal model can still count what it sees."""

    citation = "Haviv et al. 2022; Kazemnejad et al. 2023 (NoPE)"
