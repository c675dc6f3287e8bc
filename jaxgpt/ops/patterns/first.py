"""The first positions of a row, which everyone sees: what stands in front of a text."""

from typing import Any

from jaxgpt.ops.patterns.combine import PerHead, Union
from jaxgpt.ops.patterns.pattern import Extent, Pattern


class First(Pattern):
    """The first `count` positions, seen by all: what a union adds to a narrow pattern."""

    citation = "Beltagy et al. 2020 (Longformer), section 3.1: global attention; Li & Liang 2021, section 4.1: a prefix"
    count: Extent

    def allows(self, q: Any, k: Any) -> Any:
        """k < count."""
        return (k < self.count) & (q == q)


def with_first(pattern: Pattern, count: int) -> Pattern:
    """The pattern by which queries at positions from `count` on see all keys before it too."""
    parts = pattern.shares
    if len(parts) > 1:
        return PerHead(of=tuple(with_first(part, count) for part in parts))
    if pattern.sees_past:  # more kernels know it alone
        return pattern
    return Union(of=(pattern, First(count=count)))
