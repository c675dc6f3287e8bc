import numpy as np
import pytest

from jaxgpt.lab.statistics.contrast import combine
from jaxgpt.lab.statistics.paired import compare
from jaxgpt.spec import JaxgptError

RNG = np.random.default_rng(0)
GRID = {f"{norm}-{place}": dict(enumerate(RNG.normal(3, 0.1, size=6))) for norm in "ab" for place in "xy"}


def values(arm):
    return np.array(list(GRID[arm].values()))


def test_two_arms_are_a_plain_comparison():
    seeds, plus, minus = combine(GRID, {"a-x": 1, "b-y": -1})
    assert seeds == tuple(range(6))
    assert compare(plus, minus) == compare(values("a-x"), values("b-y"))


def test_main_effect_is_the_mean_of_the_simple_ones():
    _, plus, minus = combine(GRID, {"a-x": 0.5, "a-y": 0.5, "b-x": -0.5, "b-y": -0.5})
    simple = [values(f"a-{place}") - values(f"b-{place}") for place in "xy"]
    np.testing.assert_allclose(np.subtract(plus, minus), np.mean(simple, axis=0))


def test_interaction_is_a_difference_of_differences():
    _, plus, minus = combine(GRID, {"a-x": 1, "a-y": -1, "b-x": -1, "b-y": 1})
    expected = (values("a-x") - values("a-y")) - (values("b-x") - values("b-y"))
    np.testing.assert_allclose(np.subtract(plus, minus), expected)


def test_a_seed_counts_only_where_every_weighted_arm_has_it():
    held = {**GRID, "a-x": {0: 1.0, 3: 2.0, 9: 3.0}}
    assert combine(held, {"a-x": 1, "b-x": -1})[0] == (0, 3)
    assert combine(held, {"a-x": 0, "a-y": 1, "b-x": -1})[0] == tuple(range(6))


@pytest.mark.parametrize("weights", [{"a-x": 1, "b-x": -0.5}, {"a-x": 1}, {"a-x": 0}, {}])
def test_weights_that_do_not_cancel_are_refused(weights):
    with pytest.raises(JaxgptError, match=r"weights: .*sum of 0"):
        combine(GRID, weights)


def test_an_unknown_arm_is_refused():
    with pytest.raises(JaxgptError, match="no arm 'c'; expected some of a-x, a-y"):
        combine(GRID, {"a-x": 1, "c": -1})
