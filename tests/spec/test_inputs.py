"""Inputs: found by path, bound by path, and the same stand-in for all specs that differ in nothing else."""

import jax.numpy as jnp
import pytest

from jaxgpt.spec import Spec
from jaxgpt.spec.inputs import STAND_IN, bind, enabled, inputs, stand_in


class Part(Spec):
    inputs = ("rate", "scale")
    switches = ("rate",)
    rate: float = 0.0
    scale: float = 2.0
    width: int = 3


class Whole(Spec):
    part: Part = Part()
    other: Part = Part(rate=0.1)
    seed: int = 0


def test_every_input_is_found_and_a_switch_that_is_off_is_none():
    assert inputs(Whole()) == {"part.scale": 2.0, "other.rate": 0.1, "other.scale": 2.0}


def test_binding_sets_what_is_named_and_leaves_the_rest():
    bound = bind(Whole(seed=3), {"other.rate": 0.7, "part.scale": 5.0})
    assert (bound.other.rate, bound.part.scale, bound.part.rate, bound.seed) == (0.7, 5.0, 0.0, 3)
    assert bind(Whole(), {}) == Whole()


@pytest.mark.parametrize("change", [{"other": Part(rate=0.3)}, {"part": Part(scale=9.0)}], ids=str)
def test_specs_that_differ_in_inputs_share_a_stand_in(change):
    assert stand_in(Whole(**change)) == stand_in(Whole()) and hash(stand_in(Whole(**change))) == hash(stand_in(Whole()))


@pytest.mark.parametrize("change", [{"part": Part(rate=0.1)}, {"part": Part(width=4)}, {"seed": 1}], ids=str)
def test_others_do_not(change):
    assert stand_in(Whole(**change)) != stand_in(Whole())


def test_binding_a_spec_s_own_inputs_changes_nothing():
    assert bind(stand_in(Whole()), inputs(Whole())) == Whole() and inputs(stand_in(Whole()))["part.scale"] == STAND_IN


def test_a_number_is_compiled_in_unless_it_is_a_plain_zero():
    assert [enabled(value) for value in (0, 0.0, 0.1, jnp.float32(0))] == [False, False, True, True]
