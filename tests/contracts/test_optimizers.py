"""Every optimiser descends, decays matrices alone, and takes its learning rate as an input."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from close import assert_close

from jaxgpt.spec.inputs import bind

SEAM = "optim"
EXAMPLES = {
    "adafactor": [{"lr": 0.02}],
    "adamw": [{"lr": 0.02}],
    "lion": [{"lr": 0.02}],
    "muon": [{"lr": 0.1}],
    "sgd": [{"lr": 0.02}, {"lr": 0.02, "momentum": 0.0}, {"lr": 0.02, "nesterov": True}],
}
SHAPES = {
    "embed": {"token": (6, 4)},
    "blocks": {"layers": {"attention": {"q": {"weight": (2, 4, 4), "bias": (2, 4)}}, "norm": {"scale": (2, 4)}}},
}
rng = np.random.default_rng(0)


def tree():
    draw = lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)  # noqa: E731
    return jax.tree.map(draw, SHAPES, is_leaf=lambda leaf: isinstance(leaf, tuple))


def updater(member):
    @jax.jit
    def update(grads, state, params, lr, weight_decay):
        return bind(member, {"lr": lr, "weight_decay": weight_decay}).build().update(grads, state, params)

    return member.build().init, update


@pytest.fixture
def run(member):
    return updater(member)


def test_descends_a_quadratic_and_scales_with_the_learning_rate(member):
    init, update = updater(member.evolve(clip=None))
    params, target = tree(), tree()
    state, losses, lr, zero = init(params), [], jnp.float32(member.lr), jnp.float32(0)
    gap = lambda params: jax.tree.map(lambda a, b: np.subtract(a, b), params, target)  # noqa: E731
    for _ in range(60):
        grads = gap(params)
        losses.append(sum(float(np.sum(g**2)) for g in jax.tree.leaves(grads)))
        updates, state = update(grads, state, params, lr, zero)
        params = jax.tree.map(np.add, params, updates)
    assert losses[-1] < 0.5 * losses[0] and losses[-1] < losses[30] < losses[0]

    once, _ = update(gap(params), state, params, lr, zero)
    programs = update._cache_size()
    twice, _ = update(gap(params), state, params, 2 * lr, zero)
    assert_close(jax.tree.map(lambda x: 2 * np.asarray(x), once), twice)
    assert update._cache_size() == programs, "another learning rate is another input, not another program"
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(state))


def test_decay_is_lr_times_weight_on_matrices_alone(run):
    init, update = run
    params = tree()
    updates, _ = update(jax.tree.map(jnp.zeros_like, params), init(params), params, jnp.float32(0.1), jnp.float32(0.5))
    decayed = lambda path, param: (0 if path[-1].key in ("bias", "scale") else -0.05) * param  # noqa: E731
    assert_close(updates, jax.tree_util.tree_map_with_path(decayed, params), 1e-6)


def test_clipping_bounds_the_gradient(member):
    """Gradients beyond the limit give the update of gradients scaled back to it."""
    init, update = updater(member.evolve(clip=0.5))
    params, grads = tree(), tree()
    norm = float(optax.tree.norm(grads))
    assert norm > 1
    small = jax.tree.map(lambda g: g * (0.5 / norm), grads)
    args = params, jnp.float32(0.1), jnp.float32(0)
    got, want = (update(g, init(params), *args)[0] for g in (grads, small))
    assert_close(got, want, 2e-4)
