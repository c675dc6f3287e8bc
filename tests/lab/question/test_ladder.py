"""Which ladders can be climbed; the law itself is tested where it is fitted."""

import pytest

from jaxgpt.lab import Experiment, Ladder

ARMS = {"s": {}, "m": {"steps": 2}, "l": {"steps": 3}, "xl": {"steps": 4}}


def test_a_rung_alone_is_no_law():
    with pytest.raises(ValueError, match="series 'a' has 1 rung; a law needs 2 or more"):
        Ladder(rungs={"a": ("s", "s")})


def test_an_irreducible_loss_needs_four_rungs_before_anything_runs():
    with pytest.raises(ValueError, match="series 'a' has 3 rungs; a law with an irreducible loss needs 4 or more"):
        Ladder(rungs={"a": ("s", "m", "l")}, irreducible=True)
    assert Ladder(rungs={"a": tuple(ARMS)}, irreducible=True).irreducible


def test_a_rung_is_an_arm():
    with pytest.raises(ValueError, match=r"ladder\.rungs\.a: 'xs' is not an arm"):
        Experiment(question="q", base={}, arms=ARMS, baseline="s", ladder=Ladder(rungs={"a": ("xs", "m")}))


def test_ladders_hash_with_their_order():
    one, two = Ladder(rungs={"a": ("s", "m")}), Ladder(rungs={"a": ("m", "s")})
    assert hash(one) == hash(Ladder(rungs={"a": ("s", "m")})) and one != two
