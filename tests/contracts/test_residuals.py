"""Every way through a block equals its formula, and says rightly whether sublayers see what the others add."""

from typing import NamedTuple

import numpy as np
from close import assert_close

SEAM = "residual"
X = np.random.default_rng(0).standard_normal((2, 3, 4))


class Plain(NamedTuple):
    """A sublayer whose norm divides."""

    divisor: float

    def read(self, x):
        return x / self.divisor


def through(member, first=np.sin):
    """A block of two sublayers: `first` behind a norm by 2, then a square behind one by 3."""
    h = member.read(Plain(2.0), X, X, None)
    x = X + first(h)
    return x + member.read(Plain(3.0), x, X, h) ** 2


def sequential():
    y = X + np.sin(X / 2)
    return y + (y / 3) ** 2


PLAIN = {
    "sequential": sequential,
    "parallel": lambda: X + np.sin(X / 2) + (X / 3) ** 2,
    "parallel_one_norm": lambda: X + np.sin(X / 2) + (X / 2) ** 2,
}


def test_value_equals_the_formula(member, by_kind):
    assert_close(through(member), by_kind(PLAIN)())


def test_parallel_sublayers_do_not_see_what_others_add(member):
    without = through(member, np.zeros_like)
    assert np.allclose(through(member) - without, np.sin(X / 2)) == member.parallel
