"""Every place of norms equals its formula, and says rightly whether a stack of its sublayers still needs a norm."""

import numpy as np
from close import assert_close

SEAM = "norm_place"
X, Y = np.random.default_rng(0).standard_normal((2, 2, 3, 16))


def normal(x):
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


PLAIN = {
    "pre": lambda part: X + part(normal(X)),
    "post": lambda part: normal(X + part(X)),
    "both": lambda part: X + normal(part(normal(X))),
}


def applied(member, part, used):
    def norms(suffix, x):
        assert suffix not in used, "a norm's parameters serve once"
        used.append(suffix)
        return normal(x)

    return member.add(X, part(member.read(X, norms)), norms, lambda y: y)


def test_value_equals_the_formula(member, by_kind):
    part = lambda h: np.sin(3 * h) + Y  # noqa: E731
    used = []
    assert_close(applied(member, part, used), by_kind(PLAIN)(part))
    assert "" in used


def test_the_output_is_normalised_or_a_final_norm_is_asked_for(member):
    out = applied(member, np.exp, [])
    assert np.allclose(normal(out), out) != member.final_norm
