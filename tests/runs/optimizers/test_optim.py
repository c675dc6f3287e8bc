"""The optimisers' arithmetic against plain numpy, and what their states cost."""

import jax
import jax.numpy as jnp
import numpy as np
from close import assert_close, difference

from jaxgpt.models import GPT2
from jaxgpt.runs.optimizers import Adafactor, AdamW, Muon, Optimizer

rng = np.random.default_rng(0)


def update(optimizer: Optimizer, params, grads, state=None):
    tx = optimizer.build()
    return tx.update(grads, tx.init(params) if state is None else state, params)


def test_adamw_is_the_papers_algorithm():
    """Three steps of clip, Adam with bias correction, decoupled decay (Loshchilov & Hutter 2019, algorithm 2)."""
    lr, b1, b2, eps, decay, clip = 0.1, 0.9, 0.95, 1e-8, 0.2, 1.5
    optimizer = AdamW(lr=lr, b1=b1, b2=b2, eps=eps, weight_decay=decay, clip=clip)
    params = {"weight": rng.standard_normal((3, 4)), "bias": rng.standard_normal(4)}
    m, v = ({name: np.zeros_like(leaf) for name, leaf in params.items()} for _ in range(2))
    got, state = jax.tree.map(jnp.float32, params), None
    for t in range(1, 4):
        grads = {name: rng.standard_normal(leaf.shape) for name, leaf in params.items()}
        updates, state = update(optimizer, got, jax.tree.map(jnp.float32, grads), state)
        got = jax.tree.map(jnp.add, got, updates)
        norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
        for name, g in grads.items():
            g = g * min(1.0, clip / norm)
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            step = m[name] / (1 - b1**t) / (np.sqrt(v[name] / (1 - b2**t)) + eps)
            params[name] = params[name] - lr * (step + (decay * params[name] if name == "weight" else 0))
    assert_close(got, params)


def test_muon_updates_are_orthogonal_layer_by_layer():
    """Singular values near one times 0.2·√max(in, out), in each layer of the stack by itself."""
    L, shape = 3, (8, 16)
    params = {"blocks": {"layers": {"up": {"weight": jnp.zeros((L, *shape))}}}}
    grads = rng.standard_normal((L, *shape)).astype(np.float32)
    muon = Muon(lr=1.0, clip=None)
    run = jax.jit(lambda g: update(muon, params, {"blocks": {"layers": {"up": {"weight": g}}}})[0])
    found = np.asarray(run(grads)["blocks"]["layers"]["up"]["weight"])
    values = np.linalg.svd(found, compute_uv=False) / (0.2 * np.sqrt(max(shape)))
    assert values.min() > 0.6 and values.max() < 1.3
    other = grads.copy()
    other[1] = rng.standard_normal(shape)
    again = np.asarray(run(other)["blocks"]["layers"]["up"]["weight"])
    assert_close(again[[0, 2]], found[[0, 2]], 1e-6)
    assert np.abs(again[1] - found[1]).max() > 1e-2


def test_muon_leaves_embeddings_biases_and_gains_to_adam():
    spec = GPT2(num_layers=1, d_model=8, num_heads=2, vocab_size=8, context=4)
    draw = lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32)  # noqa: E731
    params, grads = jax.tree.map(draw, spec.shapes()), jax.tree.map(draw, spec.shapes())
    muon, adam = (
        jax.jit(lambda p, g, o=optimizer: update(o, p, g)[0])(params, grads)
        for optimizer in (Muon(lr=1.0), AdamW(lr=1.0))
    )
    for (path, got), want in zip(jax.tree_util.tree_flatten_with_path(muon)[0], jax.tree.leaves(adam), strict=True):
        matrix_of_a_block = path[0].key == "blocks" and path[-1].key == "weight"
        assert (difference(got, want) < 1e-5) != matrix_of_a_block, path


def test_adafactor_keeps_one_number_a_row():
    shapes = GPT2(**GPT2.sizes["124m"], vocab_size=50257).shapes()

    def numbers(optimizer):
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(optimizer.build().init, shapes)))

    assert numbers(AdamW(lr=1)) > 2 * 124_439_808
    assert numbers(Adafactor(lr=1)) < 0.01 * numbers(AdamW(lr=1))
