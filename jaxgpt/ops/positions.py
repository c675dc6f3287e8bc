"""The position seam: how a model knows order.

A position acts in one of three places, and its base class says which: `Added` to the token embeddings, `Rotated` into
queries and keys, or `Biased` onto the scores. `Learned` is a parameter table, which nn/embed.py owns.
B batch, T queries, S keys, H heads, K head width, D model width.
"""

from abc import abstractmethod
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import PositiveInt, model_validator

from jaxgpt.ops.lookup import lookup
from jaxgpt.spec import Seam


class Position(Seam, seam="position"):
    """Base of all positions. Positions are int32 and start at 0 in each segment."""


class Added(Position):
    """A fixed table added to the token embeddings."""

    @abstractmethod
    def table(self, length: int, d_model: int) -> np.ndarray:
        """float32 (length, d_model)."""


class Rotated(Position):
    """Queries and keys turn by an angle that grows with their position."""

    @abstractmethod
    def rotate(self, x_BHTK: jax.Array, pos_BT: jax.Array) -> jax.Array:
        """Turns queries or keys. `pos_BT` may lack B. Keeps shape and dtype."""


class Biased(Position):
    """A term added to the attention scores, a function of two positions and of one row of a table for each head."""

    trained: ClassVar[bool] = False
    """Whether the table is a parameter (one for all layers, which nn/embed.py owns) or a constant."""

    @abstractmethod
    def table(self, num_heads: int) -> np.ndarray:
        """float32 (H, ...): the constant, or where a parameter starts."""

    @abstractmethod
    def bias(self, table_H: jax.Array, q_pos_BT: jax.Array, k_pos_BS: jax.Array) -> jax.Array:
        """float32 (H, T, S), with B in front where the positions have it. Kernels call it tile by tile."""


class Learned(Position):
    """A trained vector for each position up to the model's context."""

    citation = "Radford et al. 2018, section 4.1; Gehring et al. 2017"
    init_std: float = 0.02
    """Standard deviation of the normal start; openai/gpt-2 model.py uses 0.01."""


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


class Rotary(Rotated):
    """RoPE: pairs of channels turn by pos·θ^(−2i/K), so scores depend on distance alone."""

    citation = "Su et al. 2021 (RoFormer), section 3.2"
    theta: float = 10000.0
    pairing: Literal["interleaved", "half"] = "interleaved"
    """`interleaved` pairs channels (2i, 2i+1) as the paper does; `half` pairs (i, i + K/2) as Llama-type weights do."""

    def rotate(self, x_BHTK: jax.Array, pos_BT: jax.Array) -> jax.Array:
        """In float32, then back to the input's dtype. K must be even."""
        half = x_BHTK.shape[-1] // 2
        rate = self.theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
        angle = pos_BT[..., None, :, None].astype(jnp.float32) * rate
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        x = x_BHTK.astype(jnp.float32)
        if self.pairing == "half":
            a, b = x[..., :half], x[..., half:]
            out = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
        else:
            a, b = x[..., 0::2], x[..., 1::2]
            out = jnp.stack([a * cos - b * sin, b * cos + a * sin], -1).reshape(x.shape)
        return out.astype(x_BHTK.dtype)


class ALiBi(Biased, kind="alibi"):
    """A penalty linear in distance, with a slope for each head; no embedding at all."""

    citation = "Press et al. 2022, section 3"

    def table(self, num_heads: int) -> np.ndarray:
        """The slopes."""
        return alibi_slopes(num_heads)

    def bias(self, table_H: jax.Array, q_pos_BT: jax.Array, k_pos_BS: jax.Array) -> jax.Array:
        """−slope·|q − k|."""
        distance = jnp.abs(q_pos_BT[..., None, :, None] - k_pos_BS[..., None, None, :])
        return -table_H[:, None, None] * distance.astype(jnp.float32)


class RelativeBias(Biased, kind="t5"):
    """A trained scalar for each head and bucket of distance; buckets widen with the logarithm of the distance.

    One table serves all layers, as in T5. Scores are still divided by √K, which T5 leaves out.
    """

    citation = "Raffel et al. 2020 (T5), section 2.1; google-research/text-to-text-transfer-transformer"
    trained = True
    buckets: PositiveInt = 32
    max_distance: PositiveInt = 128
    """From here on all distances share the last bucket."""
    two_sided: bool = False
    """Half of the buckets for keys ahead: encoders. Otherwise keys ahead share the bucket of distance 0."""

    @model_validator(mode="after")
    def _buckets(self) -> Self:
        least = 4 if self.two_sided else 2
        if self.buckets % least:
            raise ValueError(f"buckets {self.buckets} must be a multiple of {least}")
        if self.max_distance <= self.buckets // least:
            raise ValueError(
                f"max_distance {self.max_distance} must exceed buckets / {least} = {self.buckets // least}"
            )
        return self

    def table(self, num_heads: int) -> np.ndarray:
        """(H, buckets), zero: at the start all distances count alike."""
        return np.zeros((num_heads, self.buckets), np.float32)

    def bias(self, table_H: jax.Array, q_pos_BT: jax.Array, k_pos_BS: jax.Array) -> jax.Array:
        """table[head, bucket(q − k)]."""
        bucket = self.bucket(q_pos_BT[..., :, None] - k_pos_BS[..., None, :])
        return jnp.moveaxis(lookup(table_H.T, bucket), -1, -3)

    def bucket(self, distance: jax.Array) -> jax.Array:
        """int32 of the distance's shape: exact up to half of the buckets, then logarithmic."""
        buckets = self.buckets // 2 if self.two_sided else self.buckets
        first = jnp.where(distance < 0, buckets, 0) if self.two_sided else 0
        distance = jnp.abs(distance) if self.two_sided else jnp.maximum(distance, 0)
        exact = buckets // 2
        ratio = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / exact) / np.log(self.max_distance / exact)
        far = jnp.minimum(exact + (ratio * (buckets - exact)).astype(jnp.int32), buckets - 1)
        return first + jnp.where(distance < exact, distance, far)


class NoPosition(Position, kind="none"):
    """No position at all: a causal model can still count what it sees."""

    citation = "Haviv et al. 2022; Kazemnejad et al. 2023 (NoPE)"


def alibi_slopes(num_heads: int) -> np.ndarray:
    """float32 (H,): 2^(−8i/H) for a power of two, else the paper's interleaving of the two nearest powers."""
    power = 2 ** int(np.log2(num_heads))
    slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)
    extra = 2.0 ** (-4 * np.arange(1, 2 * (num_heads - power), 2) / power)
    return np.concatenate([slopes, extra]).astype(np.float32)
