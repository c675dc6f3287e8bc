"""Hidden states to one vector a row: pooling over the real tokens, and normalisation.

L layers, B batch, T tokens, D model width. `real_BT` is bool: which tokens are a row's own. Padding is never read,
whatever it holds; rows may be padded on either side, and each has at least one token.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp

Pooling = Callable[[jax.Array, jax.Array], jax.Array]
"""`(hidden_BTD, real_BT)` -> float32 (B, D)."""


def cls(hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
    """The first token's (Devlin et al. 2019, section 3)."""
    return _at(hidden_BTD, jnp.argmax(real_BT, axis=1))


def last(hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
    """The last token's, which alone has seen all of a causal row (Neelakantan et al. 2022, section 2)."""
    T = real_BT.shape[1]
    return _at(hidden_BTD, T - 1 - jnp.argmax(real_BT[:, ::-1], axis=1))


def mean(hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
    """The mean (Reimers & Gurevych 2019, section 3)."""
    return _sum(hidden_BTD, real_BT) / _count(real_BT)


def mean_sqrt_len(hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
    """The sum over the square root of the count (Cer et al. 2018, Universal Sentence Encoder, section 3.1)."""
    return _sum(hidden_BTD, real_BT) / jnp.sqrt(_count(real_BT))


def weighted_mean(hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
    """The mean with weights 1, 2, 3, ... along a row's tokens (Muennighoff 2022, SGPT, section 3.1)."""
    weight_BT = jnp.cumsum(real_BT, axis=1, dtype=jnp.float32) * real_BT
    total_B1 = jnp.maximum(weight_BT.sum(1, keepdims=True), 1e-9)
    return _sum(hidden_BTD * weight_BT[..., None].astype(hidden_BTD.dtype), real_BT) / total_B1


def maximum(hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
    """The largest value of each channel (Reimers & Gurevych 2019, section 3)."""
    return jnp.where(real_BT[..., None], hidden_BTD.astype(jnp.float32), -jnp.inf).max(1)


LAYERS: Mapping[str, tuple[int, ...]] = MappingProxyType({"first_last": (0, -1), "top2": (-2, -1)})
"""Poolings that take the mean over the tokens of two layers' outputs together: the first and the last layer's, as in
SimCSE's code (its paper takes the embeddings for the first), or the last two's (Gao et al. 2021, table 1)."""
POOLINGS: Mapping[str, Pooling] = MappingProxyType(
    {
        "cls": cls,
        "max": maximum,
        "mean": mean,
        "mean_sqrt_len": mean_sqrt_len,
        "weighted_mean": weighted_mean,
        "last": last,
    }
)
"""By name, those of the last layer alone."""
NAMES = (*POOLINGS, *LAYERS)


def pool(name: str, states_LBTD: Sequence[jax.Array] | jax.Array, real_BT: jax.Array) -> jax.Array:
    """float32 (B, D) by any of NAMES; those in LAYERS read several layers' outputs, the others the last one's."""
    if name in LAYERS:
        layers = LAYERS[name]
        return sum((mean(states_LBTD[i], real_BT) for i in layers[1:]), mean(states_LBTD[layers[0]], real_BT)) / len(
            layers
        )
    return POOLINGS[name](states_LBTD[-1], real_BT)


def layered(names: Sequence[str]) -> bool:
    """Whether one of these poolings reads more than the last layer."""
    return any(name in LAYERS for name in names)


def normalise(x: jax.Array) -> jax.Array:
    """(..., D) to length 1, float32; zeros stay zeros."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x), -1, keepdims=True), 1e-24))


class Recipe(NamedTuple):
    """How a text becomes one vector: what is done to the text, to hidden states, and to what they are pooled to."""

    poolings: tuple[str, ...]
    """Of NAMES; several are joined along D, in this order. None at all: the model's own head says how."""
    after: tuple[Callable[[jax.Array], jax.Array], ...] = ()
    """Applied to float32 (B, D) one after the other: `normalise`, dense layers."""
    max_length: int | None = None
    """Tokens, special ones included, that a text is cut to; None: the model's context."""
    prompt: str = ""
    """Stands before every text."""
    strip: bool = False
    """Whether white space around a text, prompt included, is dropped."""
    lowercase: bool = False

    def prepare(self, text: str) -> str:
        """What is given to the tokenizer."""
        text = self.prompt + text
        text = text.strip() if self.strip else text
        return text.lower() if self.lowercase else text

    def pool(self, states_LBTD: Sequence[jax.Array] | jax.Array, real_BT: jax.Array) -> jax.Array:
        """float32 (B, D), or (B, n·D) for n poolings."""
        return jnp.concatenate([pool(name, states_LBTD, real_BT) for name in self.poolings], -1)


def _at(hidden_BTD: jax.Array, index_B: jax.Array) -> jax.Array:
    return jnp.take_along_axis(hidden_BTD, index_B[:, None, None], axis=1)[:, 0].astype(jnp.float32)


def _sum(hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
    return jnp.where(real_BT[..., None], hidden_BTD.astype(jnp.float32), 0.0).sum(1)


def _count(real_BT: jax.Array) -> jax.Array:
    return jnp.maximum(real_BT.sum(1, keepdims=True, dtype=jnp.float32), 1.0)
