"""A learning rate for each arm, chosen on seeds that the report never sees.

Without it a comparison at one learning rate asks which arm that rate suits. With it the same effort goes into every
arm, and the report says how much.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, PositiveFloat, field_validator

from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Layers

FIRST_SEED = 1000
"""Tuning seeds count from here, past every reporting seed of a sensible sweep."""


class Tune(Spec):
    """The grid, the same for every arm."""

    lr: tuple[PositiveFloat, ...] = Field(min_length=2)
    """Peak learning rates to try."""
    seeds: Layers = 2
    """Runs of each arm at each rate, on seeds of their own."""

    @field_validator("lr")
    @classmethod
    def _distinct(cls, lr: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(lr)) < len(lr):
            raise ValueError(f"names a rate twice, in {', '.join(f'{rate:g}' for rate in lr)}")
        return lr


@dataclass(frozen=True)
class Rate:
    """One learning rate of one arm."""

    lr: float
    mean: float
    """Over the seeds; infinite in the worse direction when any of them diverged."""
    values: tuple[float, ...]


@dataclass(frozen=True)
class Tuned:
    """What tuning an arm found, and what it took."""

    arm: str
    rates: tuple[Rate, ...]
    lr: float
    """The best."""
    edge: bool
    """Whether the best is the lowest or the highest tried: the true best may lie beyond."""
    runs: int
    tokens: float
    seconds: float


def choose(arm: str, values: Mapping[float, Sequence[float]], better: str, tokens: float, seconds: float) -> Tuned:
    """The best of an arm's learning rates by the mean of the metric; a NaN (a run that diverged) loses."""
    worst = math.inf if better == "lower" else -math.inf

    def mean(figures: Sequence[float]) -> float:
        return worst if any(map(math.isnan, figures)) else sum(figures) / len(figures)

    rates = tuple(Rate(lr, mean(figures), tuple(figures)) for lr, figures in sorted(values.items()))
    best = (min if better == "lower" else max)(rates, key=lambda rate: rate.mean)
    edge = best in (rates[0], rates[-1])
    return Tuned(arm, rates, best.lr, edge, sum(len(rate.values) for rate in rates), tokens, seconds)
