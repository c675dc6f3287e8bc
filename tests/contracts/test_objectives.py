"""Every objective: ignores what has no weight, is pure in its key, and evaluates to what it reports.

Where a row's loss is its own, the weights are those by which parts add up.
"""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.models import BERT
from jaxgpt.objectives import LanguageModel
from jaxgpt.objectives.task import Task

SEAM = "objective"
EXAMPLES = {
    "language_model": [{}, {"chunk": 24, "label_smoothing": 0.1, "z_loss": 0.01}],
    "masked_language_model": [{"masking": {"mask_id": 3, "rate": 0.5}}],
    "info_nce": [{"temperature": 0.5, "masking": {"mask_id": 3, "rate": 0.5}, "widths": (4, 16)}],
    "classify": [{}, {"lm_weight": 0.5, "class_weights": (1.0, 3.0, 0.5), "label_smoothing": 0.1, "focal_gamma": 0.5}],
    "choice": [{"lm_weight": 0.5}],
    "similarity": [{"lm_weight": 0.5}],
    "regress": [{}],
}
HEAD = {"kind": "contrastive", "projection": "tanh"}
TASK_HEADS = {
    "class": {"kind": "task", "labels": ("a", "b", "c")},
    "index": {"kind": "task"},
    "number": {"kind": "task", "scale": (2.5, 1.5)},
}
REAL = np.arange(8) < np.array([8, 3, 5, 2, 7, 8, 4, 6])[:, None]
"""Texts of 2 to 8 tokens."""
SEQUENCES = {"joined": 1, "both_orders": 2, "candidates": 3}


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
            spec = decoder if member.next_token or member.target else encoder
            if member.target:
                spec = spec.evolve(text_head=TASK_HEADS[member.target])
            model, params = spec.build(), weights(spec)
            held[member] = jax.jit(lambda batch, key: member.loss(model, params, batch, key))
        return held[member]

    return get


@pytest.fixture
def rows(member, batch):
    """What the member trains on: windows, or texts of 2 to 8 tokens; of candidates the fifth row lacks one."""
    if member.next_token:
        return batch
    if not member.target:
        texts = {"tokens": batch["tokens"] * REAL, "segments": REAL.astype(np.int32)}
        return texts | {"words": np.where(REAL, np.arange(1, 9), 0).astype(np.int32)}
    texts = {}
    for i in range(SEQUENCES[member.arrangement]):
        suffix, real = f"_{i}" if i else "", np.roll(REAL, i, 0)
        real = real & (np.arange(8)[:, None] != 4) if i == 2 else real
        texts |= {f"tokens{suffix}": np.roll(batch["tokens"], i, 1) * real, f"segments{suffix}": real.astype(np.int32)}
        texts[f"token_types{suffix}"] = (real & (np.arange(8) > 2)).astype(np.int32)
    if member.target == "number":
        return texts | {"score": np.linspace(0, 5, 8, dtype=np.float32)}
    return texts | {"label": np.array([0, 1, 2, 0, 1, 0, 2, 0], np.int32)}


@pytest.mark.often("choice", "similarity lm")
def test_parts_of_a_task_add_up_to_the_whole(member: Task, losses, rows):
    """Each by what it counts by: rows, class weights, sequences. In evaluation each row gets what it gets alone."""
    key = jax.random.key(0)
    halves = [
        rows | {name: part * half[:, None].astype(part.dtype) for name, part in rows.items() if "segments" in name}
        for half in np.repeat(np.eye(2), 4, axis=1)
    ]
    (_, whole), *parts = [losses(member)(each, key) for each in (rows, *halves)]
    means = {name: "weight/lm" if name == "aux/lm" else "weight" for name in whole if not name.startswith("weight")}
    for name, weight in means.items():
        weights = np.array([metrics[weight] for _, metrics in parts])
        assert_close(whole[weight], weights.sum(), 1e-6)
        assert_close(whole[name], np.dot(weights, [metrics[name] for _, metrics in parts]) / weights.sum())
    _, evaluated = losses(member)(rows, None)
    for half, part in zip((slice(4), slice(4, 8)), halves, strict=True):
        _, metrics = losses(member)(part, None)
        assert_close(metrics["rows/outputs"][half], evaluated["rows/outputs"][half])
        assert metrics["rows/real"].sum() == 4
        name = "score" if member.target == "number" else "label"
        np.testing.assert_array_equal(metrics["rows/target"], rows[name])


def test_a_task_has_the_figures_that_it_names(member: Task, losses, rows):
    outputs, target = (np.asarray(losses(member)(rows, None)[1][f"rows/{name}"]) for name in ("outputs", "target"))
    figures = member.figures(outputs, target)
    assert set(figures) == set(member.measures(outputs.shape[1])) and member.metric in figures
    assert all(-1 <= value <= 1 for value in figures.values())


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


@pytest.mark.often("chunk=24", "masked_language_model", "info_nce", "focal", "choice")
def test_padding_does_not_count(member, losses, rows):
    if member.next_token:
        pytest.skip("windows have no padding but what has no weight")
    other = dict(rows)
    for name in rows:
        if name.startswith("tokens"):
            other[name] = np.where(rows[name.replace("tokens", "segments")] > 0, rows[name], 7)
    jax.tree.map(assert_close, losses(member)(rows, None), losses(member)(other, None))
    for key in (None, jax.random.key(0))[: 2 if member.target else 1]:
        empty = losses(member)({name: np.zeros_like(part) for name, part in rows.items()}, key)
        assert np.isfinite(empty[0]) and empty[1]["weight"] == 0


@pytest.mark.often("chunk=24", "masked_language_model", "info_nce", "focal", "choice")
def test_pure_in_the_key(member, losses, rows):
    draws = [float(losses(member)(rows, jax.random.key(seed))[0]) for seed in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]


def test_evaluation_is_plain(member, losses, rows):
    """Without a key nothing but the reported metric remains: no dropout, no smoothing, no z-loss."""
    loss, metrics = losses(member)(rows, None)
    assert loss == metrics["loss"]
