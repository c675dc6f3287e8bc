"""How the next token is drawn. B rows, V vocabulary.

What a draw consists of is compiled; the numbers of a setting are inputs of the program, so that another temperature
compiles nothing. Cuts need no sort: the threshold is found bit by bit, as in T5X's `binary_search`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from jaxgpt.spec import Spec, parse

SMALLEST, LARGEST = 1e-30, 1e30
"""Bounds of what is divided by, far within float32: beyond them a setting means the same as there."""
MOST_IDS = 2**31 - 1


class Steps(NamedTuple):
    """What a draw consists of: the part of a setting that is compiled."""

    draws: bool
    """Whether there is a draw at all; else the likeliest token is taken."""
    top_k: bool
    top_p: bool
    penalises: bool


class Values(NamedTuple):
    """The numbers of a setting: inputs of the compiled program, float32 scalars and an int32 one."""

    temperature: Any
    top_k: Any
    top_p: Any
    repetition_penalty: Any


class Sampling(Spec):
    """Greedy at temperature 0; otherwise a draw from the tempered distribution, cut by top-k, then by top-p."""

    model_config = ConfigDict(strict=True)

    temperature: NonNegativeFloat = 0.0
    top_k: PositiveInt | None = None
    """Keep the k likeliest (Fan et al. 2018); all, where the vocabulary has no more."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Keep the likeliest that together reach p: nucleus sampling (Holtzman et al. 2020)."""
    repetition_penalty: PositiveFloat | None = None
    """Logits of tokens already in the row are divided by it, or multiplied when negative (CTRL, Keskar et al. 2019)."""

    @classmethod
    def checked(cls, **fields: Any) -> "Sampling":
        """A Sampling from user input; numpy's numbers will do. Raises ConfigError for a value out of range."""
        return parse(cls, {k: value.item() if isinstance(value, np.generic) else value for k, value in fields.items()})

    @property
    def steps(self) -> Steps:
        """The steps of a draw by this setting; there are at most ten kinds of draw."""
        draws = self.temperature > 0
        cuts = draws and self.top_p is not None and self.top_p < 1
        return Steps(draws, draws and self.top_k is not None, cuts, self.repetition_penalty is not None)

    @property
    def values(self) -> Values:
        """The numbers of this setting, as a compiled draw takes them; those that no step reads are 1."""
        return Values(
            _within(self.temperature),
            np.int32(min(self.top_k or 1, MOST_IDS)),
            _within(self.top_p or 1.0),
            _within(self.repetition_penalty or 1.0),
        )

    def draw(self, logits_BV: jax.Array, seen_BV: jax.Array | None, key: jax.Array) -> jax.Array:
        """int32 (B,). `seen_BV` marks the tokens already in each row; needed with a repetition penalty only."""
        return draw(self.steps, self.values, logits_BV, seen_BV, key)


def draw(steps: Steps, values: Values, logits_BV: jax.Array, seen_BV: jax.Array | None, key: jax.Array) -> jax.Array:
    """int32 (B,): a token for each row. See `Sampling.draw`."""
    logits_BV = logits_BV.astype(jnp.float32)
    if steps.penalises and seen_BV is not None:
        penalty = values.repetition_penalty
        pushed_BV = jnp.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
        logits_BV = jnp.where(seen_BV, pushed_BV, logits_BV)
    if not steps.draws:
        return jnp.argmax(logits_BV, -1).astype(jnp.int32)
    # The largest is taken off first: divided by a small temperature, it would be infinite, and so would others be.
    top_B1 = jnp.max(logits_BV, -1, keepdims=True)
    logits_BV = jnp.where(logits_BV == top_B1, 0.0, (logits_BV - top_B1) / values.temperature)
    if steps.top_k:
        within_BV = _reaching(logits_BV, jnp.ones_like(logits_BV, jnp.int32), values.top_k)
        logits_BV = jnp.where(within_BV, logits_BV, -jnp.inf)
    if steps.top_p:
        within_BV = _reaching(logits_BV, jax.nn.softmax(logits_BV, -1), values.top_p)
        logits_BV = jnp.where(within_BV, logits_BV, -jnp.inf)
    return jax.random.categorical(key, logits_BV).astype(jnp.int32)


def _reaching(logits_BV: jax.Array, weights_BV: jax.Array, total: jax.Array) -> jax.Array:
    """bool (B, V): the largest logits, as many as it takes for their weights to reach `total`, and all equal to the
    least of them; every one where they do not reach it."""
    bits_BV = jax.lax.bitcast_convert_type(logits_BV, jnp.uint32)
    ordered_BV = jnp.where(bits_BV >> 31 == 1, ~bits_BV, bits_BV | jnp.uint32(1 << 31))  # grows with the logit

    def with_bit(index: jax.Array, least_B1: jax.Array) -> jax.Array:
        higher_B1 = least_B1 | (jnp.uint32(1 << 31) >> index.astype(jnp.uint32))
        reached_B1 = jnp.sum(jnp.where(ordered_BV >= higher_B1, weights_BV, 0), -1, keepdims=True) >= total
        return jnp.where(reached_B1, higher_B1, least_B1)

    least_B1 = jax.lax.fori_loop(0, 32, with_bit, jnp.zeros((len(logits_BV), 1), jnp.uint32))
    return ordered_BV >= least_B1


def _within(value: float) -> np.float32:
    return np.float32(min(max(value, SMALLEST), LARGEST))
