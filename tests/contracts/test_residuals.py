"""Every way through a block equals its formula, and says rightly whether sublayers see what the others add."""

from typing import Any, NamedTuple

import numpy as np
from close import assert_close

SEAM = "residual"
X = np.random.default_rng(0).standard_normal((2, 3, 4))


class Plain(NamedTuple):
    """A sublayer whose norm divides."""

    part: Any
    divisor: float

    def read(self, x):
        return x / self.divisor

    def add(self, x, y):
        return x + y


def square(x):
    return x**2


def through(member, first=np.sin):
    return member.through(X, [Plain(first, 2.0), Plain(square, 3.0)])


def sequential():
    y = X + np.sin(X / 2)
    return y + square(y / 3)


PLAIN = {
    "sequential": sequential,
    "parallel": lambda: X + np.sin(X / 2) + square(X / 3),
    "parallel_one_norm": lambda: X + np.sin(X / 2) + square(X / 2),
}


def test_value_equals_the_formula(member, by_kind):
    assert_close(through(member), by_kind(PLAIN)())


def test_parallel_sublayers_do_not_see_what_others_add(member):
    without = through(member, np.zeros_like)
    assert np.allclose(through(member) - without, np.sin(X / 2)) == member.parallel
