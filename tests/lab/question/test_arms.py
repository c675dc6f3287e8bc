"""Layouts of arms, and contrasts that recover what the arms were made of."""

import pytest
from close import assert_close, largest
from hypothesis import given
from hypothesis import strategies as st

from jaxgpt.lab import Experiment, factorial, hold_one_out, interaction, main_effects, one_at_a_time
from jaxgpt.lab.question.ladder import Ladder, ladder_arms

NORM = {"pre": {}, "post": {"model.place": "post"}}
RATE = {"fast": {}, "slow": {"optim.lr": 1e-4}, "slower": {"optim.lr": 1e-5}}
effects = st.floats(-2, 2)


def test_each_change_alone():
    assert one_at_a_time({"a": {"x": 1}, "b": {"y": 2}}) == {"base": {}, "a": {"x": 1}, "b": {"y": 2}}


def test_all_but_each():
    changes = {"a": {"x": 1}, "b": {"y": 2, "z": 3}, "c": {"w": 4}}
    assert hold_one_out(changes) == {
        "all": {"x": 1, "y": 2, "z": 3, "w": 4},
        "no-a": {"y": 2, "z": 3, "w": 4},
        "no-b": {"x": 1, "w": 4},
        "no-c": {"x": 1, "y": 2, "z": 3},
    }


def test_every_combination():
    arms = factorial({"norm": NORM, "rate": RATE})
    assert list(arms) == ["pre+fast", "pre+slow", "pre+slower", "post+fast", "post+slow", "post+slower"]
    assert arms["pre+fast"] == {} and arms["post+slow"] == {"model.place": "post", "optim.lr": 1e-4}


def read(contrast, values):
    return sum(weight * values[arm] for arm, weight in contrast.items())


@given(post=effects, slow=effects, slower=effects, mean=effects)
def test_main_effects_of_an_additive_table_are_its_parts(post, slow, slower, mean):
    part = {"pre": 0.0, "post": post, "fast": 0.0, "slow": slow, "slower": slower}
    factors = {"norm": NORM, "rate": RATE}
    values = {arm: mean + sum(part[level] for level in arm.split("+")) for arm in factorial(factors)}
    found = {name: read(contrast, values) for name, contrast in main_effects(factors).items()}
    want = {"post - pre": post, "slow - fast": slow, "slower - fast": slower}
    assert_close(found, want, 1e-9, scale=1 + largest(values))


@given(post=effects, slow=effects, both=effects)
def test_interaction_is_what_additive_parts_leave(post, slow, both):
    two = {"norm": NORM, "rate": {name: RATE[name] for name in ("fast", "slow")}}
    values = {"pre+fast": 0.0, "post+fast": post, "pre+slow": slow, "post+slow": post + slow + both}
    ((name, contrast),) = interaction(two).items()
    assert name == "post x slow"
    assert_close(read(contrast, values), both / 2, 1e-9, scale=1 + largest(values))


def test_contrasts_are_fit_for_an_experiment():
    factors = {"norm": NORM, "rate": {name: RATE[name] for name in ("fast", "slow")}}
    contrasts = main_effects(factors) | interaction(factors)
    asked = Experiment(question="q", base={}, arms=factorial(factors), baseline="pre+fast", contrasts=contrasts)
    assert set(asked.contrasts) == {"post - pre", "slow - fast", "post x slow"}


def test_levels_that_contrasts_could_not_tell_apart_are_refused():
    with pytest.raises(ValueError, match="level 'off' belongs to several factors"):
        main_effects({"bias": ["off", "on"], "dropout": ["off", "on"]})


def test_interaction_of_other_layouts_is_refused():
    with pytest.raises(ValueError, match=r"two factors of two levels each, got \[2, 3\]"):
        interaction({"norm": NORM, "rate": RATE})


def test_every_variant_at_every_size():
    sizes = {"s": {"model.d_model": 32}, "m": {"model.d_model": 64}}
    arms, rungs = ladder_arms(sizes, {"learned": {}, "rotary": {"model.position": "rotary"}})
    assert rungs == {"learned": ("learned-s", "learned-m"), "rotary": ("rotary-s", "rotary-m")}
    assert arms["rotary-m"] == {"model.d_model": 64, "model.position": "rotary"} and set(arms) == set(
        sum(rungs.values(), ())
    )
    Experiment(question="q", base={}, arms=arms, baseline="learned-s", ladder=Ladder(rungs=rungs))
