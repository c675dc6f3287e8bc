"""The schedule seam: the learning rate as a share of its peak, a pure function of the step."""

import math
from abc import abstractmethod
from typing import Annotated

import jax
import jax.numpy as jnp
from pydantic import AfterValidator, Field, NonNegativeFloat

from jaxgpt.spec import Seam
from jaxgpt.spec.sizes import INT32, Layers, Steps


def _whole_or_share(value: float) -> float:
    if value >= 1 and not float(value).is_integer():
        raise ValueError(f"{value} is neither a whole number of steps nor, below 1, a share of them")
    return int(value) if value >= 1 or value == 0 else value


Warmup = Annotated[int | float, AfterValidator(_whole_or_share)]


class Schedule(Seam, seam="schedule"):
    """Base of all schedules; every one starts with a linear warm-up."""

    warmup: Warmup = Field(default=0, ge=0, le=INT32)
    """Steps in which the learning rate rises from 0 to its peak, or below 1 their share of all steps (`0.002`)."""

    @abstractmethod
    def after_warmup(self, step: jax.Array, steps: int, warmup: int) -> jax.Array:
        """The share of the peak at `step` (float32, counted from 0) of `steps`, the rise in the first `warmup` of them
        left out."""

    def unchanging(self, steps: int) -> int:
        """How many of the first steps have a rate that does not depend on how many there will be, but for the warm-up.
        0, unless a member says more."""
        return 0

    def shared(self, steps: int) -> int:
        """How many of a run's first steps a longer run has alike, so that one can be made of the other."""
        return 0 if isinstance(self.warmup, float) else self.unchanging(steps)

    def warmup_steps(self, steps: int) -> int:
        """Steps of warm-up in a run of `steps`; a share is at least one."""
        return max(1, round(self.warmup * steps)) if isinstance(self.warmup, float) else self.warmup

    def __call__(self, step: jax.Array, steps: int) -> jax.Array:
        """float32 scalar in [0, 1]; the first update already moves (step 0 of a warm-up of n has share 1/n)."""
        step, warmup = jnp.asarray(step, jnp.float32), self.warmup_steps(steps)
        share = self.after_warmup(step, steps, warmup)
        return share * jnp.minimum(1.0, (step + 1) / warmup) if warmup else share


class Constant(Schedule):
    """The peak learning rate at every step after the warm-up."""

    def unchanging(self, steps: int) -> int:
        """All steps: the rate of a step does not depend on how many there will be."""
        return steps

    def after_warmup(self, step: jax.Array, steps: int, warmup: int) -> jax.Array:
        """The share 1 at every step."""
        return jnp.ones_like(step)


class Linear(Schedule):
    """Straight from the peak to `final`."""

    citation = "Devlin et al. 2019, appendix A.2"
    final: NonNegativeFloat = Field(default=0.0, le=1)

    def after_warmup(self, step: jax.Array, steps: int, warmup: int) -> jax.Array:
        """Reaches `final` at the last step."""
        return 1 - (1 - self.final) * _progress(step, warmup, steps)


class Cosine(Schedule):
    """Half a cosine from the peak to `final`: 0 in GPT-1, 0.1 in GPT-3."""

    citation = "Loshchilov & Hutter 2017; Radford et al. 2018, section 4.1"
    final: NonNegativeFloat = Field(default=0.0, le=1)
    decay_steps: Steps | None = None
    """Where `final` is reached; None: at the last step. GPT-3 decays over 260B of its 300B tokens."""

    def unchanging(self, steps: int) -> int:
        """All steps where `decay_steps` is set, and none where the decay ends with the run."""
        return 0 if self.decay_steps is None else steps

    def after_warmup(self, step: jax.Array, steps: int, warmup: int) -> jax.Array:
        """Half a cosine from 1 to `final`, and `final` from then on."""
        wave = 0.5 * (1 + jnp.cos(jnp.pi * _progress(step, warmup, self.decay_steps or steps)))
        return self.final + (1 - self.final) * wave


class InverseSqrt(Schedule):
    """Falls with 1/√step after the warm-up, which it needs."""

    citation = "Vaswani et al. 2017, section 5.3"
    warmup: Warmup = Field(default=4000, gt=0, le=INT32)

    def unchanging(self, steps: int) -> int:
        """All steps: the rate of a step does not depend on how many there will be."""
        return steps

    def after_warmup(self, step: jax.Array, steps: int, warmup: int) -> jax.Array:
        """The share of the peak: √(warmup / step)."""
        return jnp.sqrt(warmup / jnp.maximum(step + 1, warmup))


class WSD(Schedule, kind="wsd"):
    """Warm-up, stable, decay: the peak until the last `decay` share of the run, then straight to `final`."""

    citation = "Hu et al. 2024 (MiniCPM), section 4"
    decay: float = Field(default=0.2, gt=0, le=1)
    final: NonNegativeFloat = Field(default=0.0, le=1)

    def unchanging(self, steps: int) -> int:
        """Those before the decay; a run keeps the checkpoint of where it begins."""
        return int(steps * (1 - self.decay))

    def after_warmup(self, step: jax.Array, steps: int, warmup: int) -> jax.Array:
        """Reaches `final` at the last step."""
        return 1 - (1 - self.final) * _progress(step, self.unchanging(steps), steps)


class Stairs(Schedule):
    """The peak, then `factor` times less at the beginning of each of `stairs` equal parts of the rest."""

    citation = "Zaremba et al. 2014, section 4.1"
    level: float = Field(default=0.5, gt=0, lt=1)
    """Share of the run at the peak: 4 of 13 epochs, say."""
    factor: float = Field(default=0.5, gt=0, lt=1)
    """What the rate is multiplied by at each stair."""
    stairs: Layers = 1

    def unchanging(self, steps: int) -> int:
        """Those before the first stair."""
        return math.ceil(round(self.level * steps, 6))

    def after_warmup(self, step: jax.Array, steps: int, warmup: int) -> jax.Array:
        """`factor` to the power of the stairs so far; the first is where the level ends."""
        first = self.unchanging(steps)
        down = 1 + jnp.floor((step - first) * self.stairs / max(1, steps - first))
        return jnp.where(step < first, 1.0, self.factor ** jnp.clip(down, 0, self.stairs))


def _progress(step: jax.Array, start: int, end: int) -> jax.Array:
    """0 up to `start`, 1 from the last step before `end` on."""
    return jnp.clip((step - start) / max(1, end - 1 - start), 0.0, 1.0)
