"""Every schedule: a share of the peak in [0, 1], warm-up first, never rising again, a pure function of the step."""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.runs.schedules import Stairs

SEAM = "schedule"
STEPS, WARMUP = 100, 10
EXAMPLES = {
    "constant": [{"warmup": WARMUP}, {}],
    "cosine": [{"warmup": WARMUP}, {"warmup": WARMUP, "final": 0.1}, {"warmup": WARMUP, "decay_steps": 60}, {}],
    "inverse_sqrt": [{"warmup": WARMUP}],
    "linear": [{"warmup": WARMUP}, {"warmup": WARMUP, "final": 0.2}, {}],
    "stairs": [{"warmup": WARMUP, "level": 0.3, "stairs": 7}, {"level": 0.2, "factor": 0.8, "stairs": 3}],
    "wsd": [{"warmup": WARMUP}, {"warmup": WARMUP, "decay": 0.5, "final": 0.1}, {"warmup": WARMUP, "decay": 1.0}],
}


@pytest.fixture
def shares(member):
    return np.asarray(jax.vmap(lambda step: member(step, STEPS))(np.arange(STEPS)))


def test_shares_lie_between_zero_and_one(shares):
    assert shares.dtype == np.float32
    assert (shares >= 0).all() and (shares <= 1).all()


def test_warmup_is_linear_and_already_moves(member, shares):
    ramp = (np.arange(member.warmup) + 1) / max(1, member.warmup)
    if getattr(member, "decay", 0) < 1:  # a decay over the whole run falls during the warm-up too
        assert_close(shares[: member.warmup], ramp, 1e-6)
        assert shares.max() == pytest.approx(1.0)
    assert shares[0] > 0


def test_never_rises_after_the_warmup(member, shares):
    assert (np.diff(shares[max(0, member.warmup - 1) :]) <= 1e-7).all()


def test_final_is_reached_at_the_last_step(member, shares):
    end = getattr(member, "decay_steps", None) or STEPS
    if "final" in type(member).model_fields:
        assert_close(shares[end - 1 :], np.full(len(shares) - end + 1, member.final), 1e-6, scale=1.0)


def test_pure_in_the_step_jitted_or_not(member, shares):
    jitted = jax.jit(lambda step: member(step, STEPS))
    for step in (57, 3, 99, 57):
        assert_close(jitted(np.int32(step)), shares[step], 1e-6, scale=1.0)


def test_runs_of_one_step_and_of_warmup_alone_are_finite(member):
    assert np.isfinite(member(np.int32(0), 1)) and np.isfinite(member(np.int32(WARMUP - 1), WARMUP))


def test_stairs_are_zarembas_epochs():
    """13 epochs of 10 steps: four at the peak, then half of it, a quarter, ... to 1/512 in the last."""
    share = jax.vmap(lambda step: Stairs(level=4 / 13, stairs=9)(step, 130))(np.arange(130))
    assert_close(share, np.repeat([1, 1, 1, 1, *(0.5**n for n in range(1, 10))], 10), 1e-6)
