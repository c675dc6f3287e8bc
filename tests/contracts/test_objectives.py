"""Every objective: reports a weight by which parts add up, ignores what has no weight, and is pure in its key."""

import jax
import numpy as np
import pytest

SEAM = "objective"
EXAMPLES = {"language_model": [{}, {"chunk": 24, "label_smoothing": 0.1, "z_loss": 0.01}]}


@pytest.fixture(scope="module")
def built(tiny, weights):
    spec = tiny(**{"model.dropout": 0.2, "model.num_layers": 1}).model
    return spec.build(), weights(spec)


@pytest.fixture(scope="module")
def losses(built):
    """One compiled `(loss, metrics)` for each member, with a key and without."""
    model, params = built
    held = {}

    def get(member):
        if member not in held:
            held[member] = jax.jit(lambda batch, key: member.loss(model, params, batch, key))
        return held[member]

    return get


def test_parts_add_up_to_the_whole(member, losses, batch):
    loss, metrics = losses(member)(batch, None)
    zeroed = [{**batch, "weights": batch["weights"] * rows[:, None]} for rows in np.repeat(np.eye(2), 4, axis=1)]
    parts = [losses(member)({**part, "weights": np.float32(part["weights"])}, None) for part in zeroed]
    weights = np.array([part["weight"] for _, part in parts])
    assert loss.dtype == np.float32 and loss.shape == ()
    np.testing.assert_allclose(metrics["weight"], weights.sum(), rtol=1e-6)
    np.testing.assert_allclose(loss, np.dot(weights, [part for part, _ in parts]) / weights.sum(), rtol=1e-5)
    for name in metrics.keys() - {"weight"}:
        np.testing.assert_allclose(
            metrics[name], np.dot(weights, [part[name] for _, part in parts]) / weights.sum(), rtol=1e-5
        )


def test_targets_without_weight_do_not_count(member, losses, batch):
    weights = batch["weights"].copy()
    weights[:, 4:] = 0
    other = {**batch, "weights": weights, "targets": np.where(weights > 0, batch["targets"], 3)}
    first, second = losses(member)({**batch, "weights": weights}, None), losses(member)(other, None)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    empty = losses(member)({**batch, "weights": np.zeros_like(weights)}, None)
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(empty))


def test_pure_in_the_key(member, losses, batch):
    draws = [float(losses(member)(batch, jax.random.key(seed))[0]) for seed in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]


def test_evaluation_is_plain(member, losses, batch):
    """Without a key nothing but the reported metric remains: no dropout, no smoothing, no z-loss."""
    loss, metrics = losses(member)(batch, None)
    assert loss == metrics["loss"]
