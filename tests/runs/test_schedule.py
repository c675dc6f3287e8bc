"""Schedules at the points the papers name."""

import math

import numpy as np
import pytest

from jaxgpt.runs.schedules import WSD, Constant, Cosine, InverseSqrt, Linear


def at(schedule, step, steps):
    return float(schedule(np.int32(step), steps))


def test_cosine_passes_its_middle_and_stays_at_its_floor():
    schedule = Cosine(warmup=1, final=0.1)
    assert at(schedule, 50, 100) == pytest.approx(0.55, rel=0.04)
    assert at(schedule, 25, 100) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 24 / 98)) / 2, rel=1e-6)
    assert at(Cosine(decay_steps=60, final=0.1), 80, 100) == pytest.approx(0.1)


def test_gpt3_reaches_a_tenth_at_260_of_300_billion_tokens():
    per_step = 3.2e6
    schedule = Cosine(warmup=round(375e6 / per_step), final=0.1, decay_steps=round(260e9 / per_step))
    steps = round(300e9 / per_step)
    assert at(schedule, round(375e6 / per_step) - 1, steps) == pytest.approx(1.0)
    assert at(schedule, round(260e9 / per_step), steps) == at(schedule, steps - 1, steps) == pytest.approx(0.1)
    assert at(schedule, round(200e9 / per_step), steps) > 0.15


def test_transformer_rate_is_the_papers_up_to_scale():
    """d^-0.5 · min(n^-0.5, n · warmup^-1.5), Vaswani et al. 2017, equation 3, peak taken as one."""
    schedule = InverseSqrt(warmup=40)
    for n in (1, 7, 40, 41, 160, 1000):
        want = min(n**-0.5, n * 40**-1.5) * 40**0.5
        assert at(schedule, n - 1, 1000) == pytest.approx(want, rel=1e-5)


def test_linear_is_straight_and_constant_is_constant():
    assert [at(Linear(), step, 5) for step in range(5)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert {at(Constant(), step, 5) for step in range(5)} == {1.0}


def test_wsd_is_stable_then_decays():
    schedule = WSD(decay=0.2, warmup=10)
    assert [at(schedule, step, 101) for step in (10, 50, 80)] == pytest.approx([1, 1, 1])
    assert at(schedule, 90, 101) == pytest.approx(0.5) and at(schedule, 100, 101) == 0


def test_a_share_of_the_steps_is_that_many_steps():
    """At least one; a longer run then warms up longer, so that it shares no step with a shorter one."""
    for make in (Constant, Cosine, InverseSqrt, Linear, WSD):
        share, steps = make(warmup=0.25), make(warmup=25)
        assert [float(share(step, 100)) for step in (0, 24, 25, 60)] == [float(steps(s, 100)) for s in (0, 24, 25, 60)]
        assert share.shared(100) == 0 and steps.warmup_steps(9) == 25
    assert Constant(warmup=0.001).warmup_steps(20) == 1 and Constant(warmup=0.0).warmup_steps(20) == 0
    assert Constant(warmup=5).shared(100) == 100 and type(Constant(warmup=1e3).warmup) is int
