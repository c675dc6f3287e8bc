"""How the next token is drawn. B rows, V vocabulary.

What a draw consists of is compiled; the numbers of a setting are inputs of the program, so that another temperature
compiles nothing. Cuts need no sort: the threshold is found bit by bit, as in T5X's `binary_search`, or several bits
at a time: a GPU goes once through a row in the time that a kernel takes to start, and a loop within the loop over
tokens would keep XLA from recording a step as one CUDA graph.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from jaxgpt.ops.sharding import platform
from jaxgpt.spec import Spec, parse

SMALLEST, LARGEST = 1e-30, 1e30
"""Bounds of what is divided by, far within float32: beyond them a setting means the same as there."""
MOST_IDS = 2**31 - 1
DIGIT = {"cpu": 1, "gpu": 4, "tpu": 1}
"""Bits of a threshold that are found in one pass over a row, by platform."""
LANES = 128
"""XLA:CPU draws random bits five times faster for a multiple of it than for a vocabulary that few numbers divide."""


class Steps(NamedTuple):
    """What a draw consists of: the part of a setting that is compiled."""

    draws: bool
    """Whether there is a draw at all; else the likeliest token is taken."""
    top_k: bool
    top_p: bool
    penalises: bool
    min_p: bool = False
    typical: bool = False
    no_repeat: int = 0
    """Tokens of a run that no row may hold twice; 0: any."""


class Values(NamedTuple):
    """The numbers of a setting: inputs of the compiled program, float32 scalars and an int32 one."""

    temperature: Any
    top_k: Any
    top_p: Any
    repetition_penalty: Any
    min_p: Any = np.float32(1)
    typical_p: Any = np.float32(1)


class Sampling(Spec):
    """Greedy at temperature 0; otherwise a draw from the tempered distribution, cut by top-k, then by top-p."""

    model_config = ConfigDict(strict=True)

    temperature: NonNegativeFloat = 0.0
    top_k: PositiveInt | None = None
    """Keep the k likeliest (Fan et al. 2018); all, where the vocabulary has no more."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Keep the likeliest that together reach p: nucleus sampling (Holtzman et al. 2020)."""
    min_p: float | None = Field(default=None, gt=0, le=1)
    """Then keep those at least this many times as likely as the likeliest (Nguyen et al. 2024)."""
    typical_p: float | None = Field(default=None, gt=0, le=1)
    """Then keep those whose surprise is nearest to the expected one, as many as reach p (Meister et al. 2022)."""
    no_repeat_ngram_size: int | None = Field(default=None, ge=1, le=64)
    """No row holds the same so many tokens in a run twice, its prompt included (Paulus et al. 2017, section 2.5)."""
    min_new: int | None = Field(default=None, ge=1, le=MOST_IDS)
    """No text ends before so many new tokens."""
    repetition_penalty: PositiveFloat | None = None
    """Logits of tokens already in the row are divided by it, or multiplied when negative (CTRL, Keskar et al. 2019)."""

    @classmethod
    def checked(cls, **fields: Any) -> "Sampling":
        """A Sampling from user input; numpy's numbers will do. Raises ConfigError for a value out of range."""
        return parse(cls, {k: value.item() if isinstance(value, np.generic) else value for k, value in fields.items()})

    @property
    def steps(self) -> Steps:
        """The steps of a draw by this setting."""
        draws = self.temperature > 0
        cuts = draws and self.top_p is not None and self.top_p < 1
        return Steps(
            draws,
            draws and self.top_k is not None,
            cuts,
            self.repetition_penalty is not None,
            draws and self.min_p is not None,
            draws and self.typical_p is not None and self.typical_p < 1,
            self.no_repeat_ngram_size or 0,
        )

    @property
    def values(self) -> Values:
        """The numbers of this setting, as a compiled draw takes them; those that no step reads are 1."""
        return Values(
            _within(self.temperature),
            np.int32(min(self.top_k or 1, MOST_IDS)),
            _within(self.top_p or 1.0),
            _within(self.repetition_penalty or 1.0),
            _within(self.min_p or 1.0),
            _within(self.typical_p or 1.0),
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
        return _first_largest(logits_BV)
    # The largest is taken off first: divided by a small temperature, it would be infinite, and so would others be.
    top_B1 = jnp.max(logits_BV, -1, keepdims=True)
    logits_BV = jnp.where(logits_BV == top_B1, 0.0, (logits_BV - top_B1) / values.temperature)
    digit = DIGIT[platform()]
    if steps.top_k:
        within_BV = _reaching(logits_BV, jnp.ones_like(logits_BV, jnp.int32), values.top_k, digit)
        logits_BV = jnp.where(within_BV, logits_BV, -jnp.inf)
    if steps.top_p:
        within_BV = _reaching(logits_BV, jax.nn.softmax(logits_BV, -1), values.top_p, digit)
        logits_BV = jnp.where(within_BV, logits_BV, -jnp.inf)
    if steps.min_p:
        logits_BV = jnp.where(logits_BV >= jnp.log(values.min_p), logits_BV, -jnp.inf)  # the largest is 0
    if steps.typical:
        log_p_BV = jax.nn.log_softmax(logits_BV, -1)
        p_BV = jnp.exp(log_p_BV)
        entropy_B1 = -jnp.sum(jnp.where(p_BV > 0, p_BV * log_p_BV, 0.0), -1, keepdims=True)
        within_BV = _reaching(-jnp.abs(log_p_BV + entropy_B1), p_BV, values.typical_p, digit)
        logits_BV = jnp.where(within_BV, logits_BV, -jnp.inf)
    return _first_largest(logits_BV + _gumbel(key, *logits_BV.shape))


def repeating(tokens_BS: jax.Array, cursor: jax.Array, padding_B: jax.Array, n: int, V: int) -> jax.Array:
    """bool (B, V): tokens that, written in the slot behind `cursor`, would end a run of n tokens that the row holds
    already."""
    B, S = tokens_BS.shape
    end_S, padding_B1 = jnp.arange(S), padding_B[:, None]
    again_BS = (end_S <= cursor) & (end_S + 1 - n >= padding_B1) & (cursor + 2 - n >= padding_B1)
    for back in range(1, n):
        last_B1 = jax.lax.dynamic_slice(tokens_BS, (0, cursor + 1 - back), (B, 1))
        again_BS &= jnp.roll(tokens_BS, back, 1) == last_B1
    return jnp.zeros((B, V), bool).at[jnp.arange(B)[:, None], tokens_BS].max(again_BS, mode="drop")


def _first_largest(x_BV: jax.Array) -> jax.Array:
    """int32 (B,): `argmax`, which XLA:CPU computes one by one, as two plain reductions."""
    V = x_BV.shape[1]
    ids_BV = jax.lax.broadcasted_iota(jnp.int32, x_BV.shape, 1)
    largest_BV = x_BV == jnp.max(x_BV, -1, keepdims=True)
    return jnp.minimum(jnp.min(jnp.where(largest_BV, ids_BV, V), -1), V - 1)  # in range for NaN too


def _gumbel(key: jax.Array, B: int, V: int) -> jax.Array:
    """What `jax.random.categorical` adds to logits (B, V): the same numbers."""
    wide = -(-V // LANES) * LANES if B == 1 else V  # each number depends on its index alone, while there is one row
    return jax.random.gumbel(key, (B, wide))[:, :V]


def _reaching(logits_BV: jax.Array, weights_BV: jax.Array, total: jax.Array, digit: int) -> jax.Array:
    """bool (B, V): the largest logits, none above 0, as many as it takes for their weights to reach `total`, and all
    equal to the least of them; every one where they do not reach it. `digit`: bits of the least found in a pass."""
    depth_BV = jax.lax.bitcast_convert_type(jnp.abs(logits_BV), jnp.uint32)  # grows as the logit falls
    passes = -(-31 // digit)

    def one_pass(index: int | jax.Array, least_B1: jax.Array) -> jax.Array:
        shift = jnp.asarray(digit * (passes - 1 - index), jnp.uint32)
        steps = [least_B1 + (jnp.uint32(step) << shift) for step in range(1, 1 << digit)]
        sums = [jnp.sum(jnp.where(depth_BV < step_B1, weights_BV, 0), -1, keepdims=True) for step_B1 in steps]
        short = sum((sum_B1 < total).astype(jnp.uint32) for sum_B1 in sums)
        return least_B1 + (short << shift)

    start_B1 = jnp.zeros((len(logits_BV), 1), jnp.uint32)
    return depth_BV <= jax.lax.fori_loop(0, passes, one_pass, start_B1, unroll=digit > 1)


def _within(value: float) -> np.float32:
    return np.float32(min(max(value, SMALLEST), LARGEST))
