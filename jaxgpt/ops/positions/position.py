"""The position seam: how a model knows order.

A position acts in one of three places, and its base class says which: on the token embeddings as a constant (`Added`)
or as a parameter (`PositionEmbedding`), within queries and keys (`Rotated`), or on the scores (`Biased`).
B batch, T queries, S keys, H heads, K head width, D model width.
"""

from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxgpt.spec import Seam
from jaxgpt.spec.sizes import Width


class Position(Seam, seam="position"):
    """Base of all positions. Positions are int32 and start at 0 in each segment."""

    bounded: ClassVar[bool] = False
    """Whether it has nothing to say of positions beyond the model's context."""


class Added(Position):
    """A constant table of vectors, one a position, added to the token embeddings."""

    bounded = True

    @abstractmethod
    def table(self, length: int, d_model: int) -> np.ndarray:
        """float32 (length, d_model)."""


class PositionEmbedding(Position):
    """The same as a parameter, `embed/position`, which nn/embed.py owns."""

    bounded = True

    @property
    @abstractmethod
    def first_row(self) -> int:
        """The table's row for position 0; rows before it are never read."""

    @abstractmethod
    def start(self, key: jax.Array, shape: tuple[int, int], dtype: DTypeLike) -> jax.Array:
        """The table before training, (first_row + context, d_model)."""


class Rotated(Position):
    """Queries and keys turn by an angle that grows with their position."""

    width: Width | None = None
    """Channels of a head that turn, its first ones; None: all. GPT-J and GPT-NeoX turn a part."""

    @abstractmethod
    def rotate(self, x_BHTK: jax.Array, pos_BT: jax.Array) -> jax.Array:
        """Turns all channels of queries or keys. `pos_BT` may lack B. Keeps shape and dtype."""

    def turn(self, x_BHTK: jax.Array, pos_BT: jax.Array) -> jax.Array:
        """`rotate` on the first `width` channels."""
        if self.width is None:
            return self.rotate(x_BHTK, pos_BT)
        return jnp.concatenate([self.rotate(x_BHTK[..., : self.width], pos_BT), x_BHTK[..., self.width :]], -1)


class Biased(Position):
    """A term added to the attention scores, a function of two positions and of one row of a table for each head."""

    trained: ClassVar[bool] = False
    """Whether the table is a parameter (one for all layers of a stack, which owns it) or a constant."""

    @abstractmethod
    def table(self, num_heads: int) -> np.ndarray:
        """float32 (H, ...): the constant, or where a parameter starts."""

    @abstractmethod
    def bias(self, table_H: jax.Array, q_pos_BT: jax.Array, k_pos_BS: jax.Array) -> jax.Array:
        """float32 (H, T, S), with B in front where the positions have it. Kernels call it tile by tile."""
