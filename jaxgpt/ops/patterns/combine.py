"""Patterns made of patterns."""

from functools import reduce
from operator import and_, or_
from typing import Any, Self

from pydantic import Field, model_validator

from jaxgpt.ops.patterns.pattern import Pattern, Relative


class Combined(Pattern):
    """A pattern made of others."""

    of: tuple[Pattern, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _heads_stand_alone(self) -> Self:
        if any(part.shares != (part,) for part in self.of):
            raise ValueError("per_head cannot stand inside another pattern; combine the patterns inside per_head")
        return self


def is_relative(pattern: Pattern) -> bool:
    """Whether a pattern depends on distance alone."""
    if isinstance(pattern, Combined):
        return all(is_relative(part) for part in pattern.of)
    return isinstance(pattern, Relative)


class Union(Combined):
    """The pairs that any of several patterns allows."""

    citation = "Zaheer et al. 2020 (BigBird), section 2: window, global and random edges together"

    def allows(self, q: Any, k: Any) -> Any:
        """Whether any of the patterns allows the pair."""
        return reduce(or_, [part.allows(q, k) for part in self.of])


class Intersection(Combined):
    """The pairs that all of several patterns allow: `[causal, ...]` makes any pattern causal."""

    citation = "Child et al. 2019, section 4.1: subsets of what causality allows"

    def allows(self, q: Any, k: Any) -> Any:
        """Whether all of the patterns allow the pair."""
        return reduce(and_, [part.allows(q, k) for part in self.of])


class PerHead(Combined):
    """The heads in equal shares, in order, each with a pattern of its own. As a whole it allows what some head sees."""

    citation = "Child et al. 2019, section 5.1, equation 8: multi-head factorised attention"

    @property
    def shares(self) -> tuple[Pattern, ...]:
        """The patterns it is made of."""
        return self.of

    def allows(self, q: Any, k: Any) -> Any:
        """Whether some head sees it; `shares` are the heads' own patterns."""
        return reduce(or_, [part.allows(q, k) for part in self.of])
