"""Every cell over time: the gradient that is written out is that of the loop, and a document knows none before it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.recurrence import recur, recur_apart

SEAM = "cell"
T, B, H = 5, 3, 4
BEGINS = np.zeros((T, B), bool)
BEGINS[2, 0] = BEGINS[4, 0] = BEGINS[1, 2] = True


@pytest.fixture
def given(member):
    """A token's part, the state's matrix and bias, and a state."""
    rng, X = np.random.default_rng(0), member.gates * H
    shapes = (T, B, X), (H, X), (X,)
    token, w, bias = (jnp.asarray(rng.normal(0, 0.7, shape), jnp.float32) for shape in shapes)
    return token, w, bias, tuple(jnp.asarray(rng.normal(0, 0.7, (member.arrays, B, H)), jnp.float32))


def by_hand(cell, token, w, bias, start, begins):
    """The loop in Python."""
    state, states = start, []
    for t in range(T):
        if begins is not None:
            state = tuple(jnp.where(begins[t][:, None], 0.0, x) for x in state)
        state = cell.step(token[t], state[0] @ w + bias, state)
        states.append(state)
    return tuple(jnp.stack(x) for x in zip(*states, strict=True)), state


@pytest.mark.parametrize("begins", [None, BEGINS], ids=["one text", "documents"])
def test_states_and_gradients_are_those_of_a_loop(member, given, begins):
    rng = np.random.default_rng(1)
    weigh = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), by_hand(member, *given, begins))

    def loss(run, *given):
        out = run(member, *given, begins)
        return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(out), jax.tree.leaves(weigh), strict=True)), out

    got, want = (
        jax.jit(jax.value_and_grad(partial(loss, run), argnums=(0, 1, 2, 3), has_aux=True))(*given)
        for run in (recur, by_hand)
    )
    assert_close(got, want)


def test_no_gradient_comes_from_before_a_document(member, given):
    """Nor from the state that the row began with; of a row without a new one it does."""

    def last_of(start, token):
        states, _ = recur(member, token, *given[1:3], start, BEGINS)
        return jnp.sum(states[0][4])

    d_start, d_token = jax.jit(jax.grad(last_of, argnums=(0, 1)))(given[3], given[0])
    assert not np.any(d_token[:4, 0]) and not any(np.any(x[0]) for x in d_start)
    assert not np.any(d_token[:1, 2]) and np.any(d_token[1, 2])
    assert np.any(d_token[0, 1]) and any(np.any(x[1]) for x in d_start)


def test_what_is_nobodys_leaves_the_state_and_branches_go_on_from_what_they_share(member, given):
    """Two padding tokens; one shared; two branches of one token."""
    token, w, bias, start = given
    zero = jax.tree.map(jnp.zeros_like, start)
    real = jnp.arange(T)[:, None] >= jnp.full((1, B), 2)
    shared, begins = (jnp.broadcast_to(jnp.arange(T)[:, None] == at, (T, B)) for at in (2, 4))
    states, _ = jax.jit(partial(recur_apart, member))(token, w, bias, zero, real, shared, begins)
    for end in (3, 4):
        _, alone = recur(member, token[jnp.array([2, end])], w, bias, zero, None)
        assert_close(tuple(x[end] for x in states), alone)


def test_the_state_stays_in_float32(member, given):
    token, w, bias, start = given
    out = jax.eval_shape(partial(recur, member), token, w.astype(jnp.bfloat16), bias, start, None)
    assert {x.dtype for x in jax.tree.leaves(out)} == {jnp.dtype("float32")}
