"""The position seam: how a model knows order.

A position acts in one of three places, and its base class says which: `Added` to the token embeddings, `Rotated` into
queries and keys, or `Biased` onto the scores. `Learned` is a parameter table, which nn/embed.py owns.
B batch, T queries, S keys, H heads, K head width, D model width.
"""

from abc import abstractmethod
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

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
    """A term added to the attention scores."""

    @abstractmethod
    def bias(self, num_heads: int, q_pos_BT: jax.Array, k_pos_BS: jax.Array) -> jax.Array:
        """float32 (H, T, S), with B in front where the positions have it."""


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

    def bias(self, num_heads: int, q_pos_BT: jax.Array, k_pos_BS: jax.Array) -> jax.Array:
        """−slope·|q − k|."""
        distance = jnp.abs(q_pos_BT[..., None, :, None] - k_pos_BS[..., None, None, :])
        return -jnp.asarray(alibi_slopes(num_heads))[:, None, None] * distance.astype(jnp.float32)


class NoPosition(Position, kind="none"):
    """No position at all: a causal model can still count what it sees."""

    citation = "Haviv et al. 2022; Kazemnejad et al. 2023 (NoPE)"


def alibi_slopes(num_heads: int) -> np.ndarray:
    """float32 (H,): 2^(−8i/H) for a power of two, else the paper's interleaving of the two nearest powers."""
    power = 2 ** int(np.log2(num_heads))
    slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)
    extra = 2.0 ** (-4 * np.arange(1, 2 * (num_heads - power), 2) / power)
    return np.concatenate([slopes, extra]).astype(np.float32)
