"""Positions that bias the attention scores. B batch, T queries, S keys, H heads."""

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from jaxgpt.ops.lookup import lookup
from jaxgpt.ops.positions.position import Biased
from jaxgpt.spec.sizes import Steps


class ALiBi(Biased, kind="alibi"):
    """A penalty linear in distance, with a slope for each head; no embedding at all."""

    citation = "Press et al. 2022, section 3"

    def table(self, num_heads: int) -> np.ndarray:
        """A slope for each head, float32 (H,)."""
        return alibi_slopes(num_heads)

    def bias(self, table_H: jax.Array, q_pos_BT: jax.Array, k_pos_BS: jax.Array) -> jax.Array:
        """What is added to the scores: −slope·|q − k|."""
        distance = jnp.abs(q_pos_BT[..., None, :, None] - k_pos_BS[..., None, None, :])
        return -table_H[:, None, None] * distance.astype(jnp.float32)


class RelativeBias(Biased, kind="t5"):
    """A trained scalar for each head and bucket of distance; buckets widen with the logarithm of the distance.

    One table serves all layers of a stack, as in T5. Scores are still divided by √K, which T5 leaves out.
    """

    citation = "Raffel et al. 2020 (T5), section 2.1; google-research/text-to-text-transfer-transformer"
    trained = True
    buckets: int = Field(default=32, gt=0, le=1024)
    max_distance: Steps = 128
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


def alibi_slopes(num_heads: int) -> np.ndarray:
    """float32 (H,): 2^(−8i/H) for a power of two, else the paper's interleaving of the two nearest powers."""
    power = 2 ** int(np.log2(num_heads))
    slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)
    extra = 2.0 ** (-4 * np.arange(1, 2 * (num_heads - power), 2) / power)
    return np.concatenate([slopes, extra]).astype(np.float32)
