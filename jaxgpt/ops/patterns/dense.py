"""Patterns that keep a constant share of all pairs."""

from typing import Any

from jaxgpt.ops.patterns.call import Call, Composed, Mask, comb, span
from jaxgpt.ops.patterns.pattern import Extent, Relative


class Causal(Relative):
    """Every position up to and including the own one."""

    citation = "Vaswani et al. 2017, section 3.2.3"
    sees_past = True

    def near(self, distance: Any) -> Any:
        """Whether the key is no later than the query."""
        return distance >= 0


class Bidirectional(Relative):
    """Everyone sees everyone: encoders."""

    citation = "Devlin et al. 2019, section 3"
    sees_past = True

    def near(self, distance: Any) -> Any:
        """True at every distance: every query sees every key."""
        return distance == distance


class Prefix(Composed):
    """The first `length` positions see one another; the rest is causal: a prefix language model."""

    citation = "Raffel et al. 2020, section 3.2.1"
    sees_past = True
    length: Extent

    def allows(self, q: Any, k: Any) -> Any:
        """Whether the key is no later than the query, or one of the first `length`."""
        return (k <= q) | (k < self.length)

    def calls(self, length: int) -> tuple[Call, ...]:
        """The causal row, and what the prefix sees ahead, which is causal when the prefix is turned round."""
        causal, first = comb(length, 0, 1, length), min(self.length, length) - 1
        if first == 0:
            return (causal,)
        return causal, Call(span(0, first, length, backwards=True), span(1, first + 1, length, backwards=True), Mask())
