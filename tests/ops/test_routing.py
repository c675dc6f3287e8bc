"""Routing against plain loops: choices, places, the ways there and back in value and gradient, the losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops import routing

rng = np.random.default_rng(0)
T, D, E = 24, 5, 4
bounded, blocked = (jax.jit(one, static_argnums=(1, 2)) for one in (routing.bounded, routing.blocked))
balance = jax.jit(routing.balance)


def choices(k, experts=E, tokens=T):
    return np.stack([rng.permutation(experts)[:k] for _ in range(tokens)]).astype(np.int32)


def seats(expert_Tk, places):
    """Who sits where, by a loop: {(expert, place): (token, choice)}."""
    taken, seated = [0] * E, {}
    for t, row in enumerate(expert_Tk):
        for j, e in enumerate(row):
            if taken[e] < places:
                seated[e, taken[e]] = (t, j)
                taken[e] += 1
    return seated


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_most_probable_experts_in_order_with_their_probabilities(k):
    logits = rng.standard_normal((3, T, E)).astype(np.float32)
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    order = np.argsort(-logits, -1)[..., :k]
    want = np.take_along_axis(probs, order, -1)
    plain, shared = (jax.jit(routing.route, static_argnums=(1, 2))(logits, k, normalize) for normalize in (False, True))
    np.testing.assert_array_equal(plain.expert, order)
    assert_close(plain.gate, want)
    assert_close(shared.gate, want / want.sum(-1, keepdims=True))


def test_capacity_is_the_papers_and_within_bounds():
    assert routing.capacity(1024, 8, 1, 1.25) == 160
    assert routing.capacity(1000, 8, 2, 1.1) == 275  # 275.00000000000006 in floating point
    assert routing.capacity(10, 8, 1, 1.0) == 2
    assert routing.capacity(1, 64, 1, 0.5) == 1 and routing.capacity(6, 2, 2, 10.0) == 6


@pytest.mark.parametrize(("k", "places"), [(1, 3), (2, 5), (2, 24)])
def test_earlier_tokens_are_seated_first(k, places):
    expert_Tk = choices(k)
    slots = bounded(expert_Tk, E, places)
    want_S, want_Tk = np.full(E * places, T * k), np.full((T, k), E * places)
    for (e, place), (t, j) in seats(expert_Tk, places).items():
        want_S[e * places + place], want_Tk[t, j] = t * k + j, e * places + place
    np.testing.assert_array_equal(slots.choice_S, want_S)
    np.testing.assert_array_equal(slots.slot_Tk, want_Tk)


@pytest.mark.parametrize("places", [3, 24])
def test_a_later_token_takes_no_place_from_an_earlier_one(places):
    """Where GShard's order would: the last token's first choice is the first tokens' second."""
    expert_Tk = choices(2)
    for t in range(1, T):
        changed = expert_Tk.copy()
        changed[t:] = choices(2)[t:]
        got, want = (bounded(rows, E, places).slot_Tk[:t] for rows in (changed, expert_Tk))
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [1, 3, 7, 48])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("crowd", ["even", "all to one", "one each"])
def test_blocks_hold_everybody_and_belong_to_one_expert(size, k, crowd):
    expert_Tk = choices(k)
    if crowd == "all to one":
        expert_Tk[:] = np.arange(k) + 1
    if crowd == "one each":  # as many half-filled blocks as there can be
        expert_Tk = choices(k, tokens=2)
    slots, expert_N = blocked(expert_Tk, E, size)
    slot_Tk, owner_S = np.asarray(slots.slot_Tk), np.repeat(expert_N, size)
    assert slots.choice_S.size == owner_S.size and len(set(slot_Tk.ravel())) == slot_Tk.size
    assert slot_Tk.max() < owner_S.size
    np.testing.assert_array_equal(owner_S[slot_Tk], expert_Tk)
    np.testing.assert_array_equal(np.asarray(slots.choice_S)[slot_Tk.ravel()], np.arange(slot_Tk.size))
    assert np.sum(np.asarray(slots.choice_S) < slot_Tk.size) == slot_Tk.size


@pytest.mark.parametrize("places", [3, 24])
@pytest.mark.parametrize("mapped", [False, True])
def test_there_and_back_in_value_and_gradient(places, mapped):
    """Against one-hot products, as in GShard's algorithm 1; and under `vmap`, as the layer uses it."""
    k, S = 2, E * places
    expert = np.stack([choices(k), choices(k)])
    x, weight = rng.standard_normal((2, T, D)).astype(np.float32), rng.standard_normal((2, S, 1)).astype(np.float32)
    gate = rng.uniform(size=(2, T, k)).astype(np.float32)

    def ours(x, gate, expert, weight):
        slots = routing.bounded(expert, E, places)
        return routing.combine(jnp.sin(routing.dispatch(x, slots)) * weight, gate, slots)

    def plain(x, gate, expert, weight):
        hot_TkS = np.zeros((T, k, S), np.float32)
        for (e, place), (t, j) in seats(expert, places).items():
            hot_TkS[t, j, e * places + place] = 1
        y_SD = jnp.sin(jnp.einsum("tks,td->sd", hot_TkS, x)) * weight
        return jnp.einsum("tks,tk,sd->td", hot_TkS, gate, y_SD)

    def loss(one, x, gate):
        return sum(jnp.sum(one(*row) ** 2) for row in zip(x, gate, expert, weight, strict=True))

    def loss_mapped(x, gate):
        return jnp.sum(jax.vmap(ours)(x, gate, expert, weight) ** 2)

    want = jax.jit(jax.value_and_grad(lambda *args: loss(plain, *args), (0, 1)))(x, gate)
    got = jax.jit(jax.value_and_grad(loss_mapped if mapped else lambda *args: loss(ours, *args), (0, 1)))(x, gate)
    assert_close(got, want)


def test_balance_is_one_when_even_and_the_number_of_experts_at_collapse():
    even = jnp.asarray(np.arange(T).reshape(T, 1) % E)
    assert balance(jnp.zeros((T, E)), even) == pytest.approx(1)
    one = jnp.zeros((T, E)).at[:, 2].set(50.0)
    assert balance(one, jnp.full((T, 1), 2)) == pytest.approx(E)
    pushed = jax.grad(balance)(jnp.zeros((T, E)), jnp.full((T, 1), 2))
    assert (pushed[:, 2] > 0).all() and (np.delete(pushed, 2, 1) < 0).all()


def test_balance_is_its_formula():
    logits, expert = rng.standard_normal((T, E)).astype(np.float32), choices(2)
    share = np.bincount(expert.ravel(), minlength=E) / (2 * T)
    mean = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).mean(0)
    assert balance(logits, expert) == pytest.approx(E * np.dot(share, mean), rel=1e-5)


def test_router_z_is_its_formula():
    logits = rng.standard_normal((3, T, E)).astype(np.float32)
    assert routing.router_z(logits) == pytest.approx(np.mean(np.log(np.exp(logits).sum(-1)) ** 2), rel=1e-5)
    none = routing.router_z(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
    assert_close(none, 0.0, 1e-10, scale=1.0)
