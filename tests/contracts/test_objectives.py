"""Every objective: ignores what has no weight, is pure in its key, and evaluates to what it reports.

Where a row's loss is its own, the weights are those by which parts add up.
"""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.models import BERT
from jaxgpt.objectives import LanguageModel

SEAM = "objective"
EXAMPLES = {
    "language_model": [{}, {"chunk": 24, "label_smoothing": 0.1, "z_loss": 0.01}],
    "masked_language_model": [{"masking": {"mask_id": 3, "rate": 0.5}}],
    "info_nce": [{"temperature": 0.5, "masking": {"mask_id": 3, "rate": 0.5}, "widths": (4, 16)}],
}
HEAD = {"kind": "contrastive", "projection": "tanh"}


@pytest.fixture(scope="module")
def decoder(tiny):
    return tiny(**{"model.dropout": 0.2, "model.num_layers": 1}).model


@pytest.fixture(scope="module")
def encoder(decoder):
    sizes = {name: getattr(decoder, name) for name in ("num_layers", "d_model", "num_heads", "context", "vocab_size")}
    return BERT(**sizes, dropout=0.2, pooler=False, text_head=HEAD)


@pytest.fixture(scope="module")
def losses(decoder, encoder, weights):
    """One compiled `(loss, metrics)` for each member, with a key and without."""
    held = {}

    def get(member):
        if member not in held:
            spec = decoder if member.next_token else encoder
            model, params = spec.build(), weights(spec)
            held[member] = jax.jit(lambda batch, key: member.loss(model, params, batch, key))
        return held[member]

    return get


@pytest.fixture
def rows(member, batch):
    """What the member trains on: windows, or texts of 2 to 8 tokens."""
    if member.next_token:
        return batch
    real = np.arange(8) < np.array([8, 3, 5, 2, 7, 8, 4, 6])[:, None]
    texts = {"tokens": batch["tokens"] * real, "segments": real.astype(np.int32)}
    return texts | {"words": np.where(real, np.arange(1, 9), 0).astype(np.int32)}


def test_parts_add_up_to_the_whole(member: LanguageModel, losses, batch):
    loss, metrics = losses(member)(batch, None)
    zeroed = [{**batch, "weights": batch["weights"] * rows[:, None]} for rows in np.repeat(np.eye(2), 4, axis=1)]
    parts = [losses(member)({**part, "weights": np.float32(part["weights"])}, None) for part in zeroed]
    weights = np.array([part["weight"] for _, part in parts])
    assert loss.dtype == np.float32 and loss.shape == ()
    assert_close(metrics["weight"], weights.sum(), 1e-6)
    assert_close(loss, np.dot(weights, [part for part, _ in parts]) / weights.sum())
    for name in metrics.keys() - {"weight"}:
        assert_close(metrics[name], np.dot(weights, [part[name] for _, part in parts]) / weights.sum())


def test_targets_without_weight_do_not_count(member: LanguageModel, losses, batch):
    weights = batch["weights"].copy()
    weights[:, 4:] = 0
    other = {**batch, "weights": weights, "targets": np.where(weights > 0, batch["targets"], 3)}
    first, second = losses(member)({**batch, "weights": weights}, None), losses(member)(other, None)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    empty = losses(member)({**batch, "weights": np.zeros_like(weights)}, None)
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(empty))


def test_padding_does_not_count(member, losses, rows):
    if member.next_token:
        pytest.skip("windows have no padding but what has no weight")
    other = rows | {"tokens": np.where(rows["segments"] > 0, rows["tokens"], 7)}
    first, second = losses(member)(rows, None), losses(member)(other, None)
    assert_close(first, second)
    empty = losses(member)({name: np.zeros_like(part) for name, part in rows.items()}, None)
    assert np.isfinite(empty[0]) and empty[1]["weight"] == 0


def test_pure_in_the_key(member, losses, rows):
    draws = [float(losses(member)(rows, jax.random.key(seed))[0]) for seed in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]


def test_evaluation_is_plain(member, losses, rows):
    """Without a key nothing but the reported metric remains: no dropout, no smoothing, no z-loss."""
    loss, metrics = losses(member)(rows, None)
    assert loss == metrics["loss"]
