"""The tasks: what each reads of a row, the auxiliary language model's mean, and that parts of a batch add up."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from close import assert_close, cancelled

from jaxgpt.models import BERT, GPT1
from jaxgpt.objectives import Choice, Classify, Objective, Regress, Similarity
from jaxgpt.ops.patterns import Prefix
from jaxgpt.ops.random_masks import by_row
from jaxgpt.spec import parse
from jaxgpt.text import Data
from jaxgpt.train.gradient import gradient

SIZE = {"num_layers": 1, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32, "dropout": 0.2}
ONE, THREE = {"kind": "task"}, {"kind": "task", "labels": ("a", "b", "c")}
DECODER, ENCODER = GPT1(**SIZE, text_head=ONE), BERT(**SIZE, text_head=ONE)
KEY = jax.random.key(0)
rng = np.random.default_rng(0)


def sequences(N, lengths, B=4):
    """N sequences a row with these lengths (B, N)."""
    real = np.arange(8) < np.asarray(lengths).reshape(B, N, 1)
    tokens = rng.integers(1, 32, (B, N, 8)) * real
    texts = {}
    for i in range(N):
        suffix = f"_{i}" if i else ""
        texts |= {f"tokens{suffix}": tokens[:, i].astype(np.int32), f"segments{suffix}": real[:, i].astype(np.int32)}
        texts[f"token_types{suffix}"] = (real[:, i] & (np.arange(8) > 2)).astype(np.int32)
    return texts


LENGTHS = np.array([[8, 3, 5], [4, 6, 0], [8, 8, 2], [3, 7, 0]])
CANDIDATES = sequences(3, LENGTHS) | {"label": np.array([2, 0, 1, 1], np.int32)}
PAIRS = sequences(2, LENGTHS[:, :2]) | {"score": np.array([0, 5, 2, 4], np.float32)}


def evaluated(objective, spec, params, batch):
    return jax.jit(lambda params, batch: objective.loss(spec.build(), params, batch, None)[1])(params, batch)


def test_the_language_model_is_a_mean_over_sequences_of_means_over_their_tokens(weights):
    """Wrong candidates count, absent ones do not, and neither does padding (openai/finetune-transformer-lm)."""
    spec = DECODER.evolve(dropout=0, text_head=ONE | {"dropout": 0.0})
    model, params = spec.build(), weights(DECODER)
    metrics = jax.jit(lambda params: Choice(lm_weight=0.5).loss(model, params, CANDIDATES, KEY)[1])(params)
    log_p_of = jax.jit(lambda tokens: jax.nn.log_softmax(model.apply({"params": params}, tokens)))
    means = []
    for i, suffix in enumerate(["", "_1", "_2"]):
        tokens = CANDIDATES[f"tokens{suffix}"]
        log_p = np.asarray(log_p_of(tokens))
        for row, length in enumerate(LENGTHS[:, i]):
            if length:
                means.append(-np.mean([log_p[row, t, tokens[row, t + 1]] for t in range(length - 1)]))
    assert_close(metrics["aux/lm"], 0.5 * np.mean(means))
    assert metrics["weight/lm"] == len(means) == 10


def test_chunks_of_logits_change_nothing(weights):
    whole, parts = (Choice(lm_weight=0.5, chunk=chunk) for chunk in ("all", 24))
    model, params = DECODER.build(), weights(DECODER)
    values = [jax.jit(lambda p, o=o: o.loss(model, p, CANDIDATES, KEY)[0])(params) for o in (parts, whole)]
    assert_close(*values)
    assert whole.with_logits(8) is None and Choice(lm_weight=0.5).with_logits(8).chunk == 8
    assert Choice().with_logits(8) is None


@pytest.mark.parametrize("spec", [DECODER, ENCODER], ids=["decoder", "encoder"])
def test_a_pair_scores_the_same_in_either_order(spec, weights):
    swapped = {name.removesuffix("_1") + ("" if name.endswith("_1") else "_1"): x for name, x in PAIRS.items()}
    batches = PAIRS, swapped | {"score": PAIRS["score"]}
    outputs = [evaluated(Similarity(), spec, weights(spec), batch)["rows/outputs"] for batch in batches]
    assert_close(outputs[0], outputs[1], 1e-6)


@pytest.mark.slow
def test_a_similarity_adds_the_states_of_both_orders(weights):
    params, model = weights(DECODER), DECODER.build()
    pooled = sum(
        model.apply({"params": params}, PAIRS[f"tokens{i}"], segments=PAIRS[f"segments{i}"], method="summarise")[1]
        for i in ("", "_1")
    )
    out = params["text_head"]["out"]
    got = evaluated(Similarity(), DECODER, params, PAIRS)["rows/outputs"]
    assert_close(got, pooled @ out["weight"] + out["bias"])


def test_candidates_may_come_in_any_order_and_absent_ones_are_never_chosen(weights):
    """In training too: the candidates of a row lose the same channels to the head's dropout."""
    spec = DECODER.evolve(dropout=0)
    loss = jax.jit(lambda batch, key: Choice().loss(spec.build(), weights(spec), batch, key))
    order = {"": "_1", "_1": "", "_2": "_2"}
    moved = {name + new: CANDIDATES[name + old] for name in ("tokens", "segments") for new, old in order.items()}
    moved["label"] = np.array([2, 1, 0, 0], np.int32)
    first, second = loss(CANDIDATES, KEY), loss(moved, KEY)
    assert_close(first, second)
    outputs = evaluated(Choice(), spec, weights(spec), CANDIDATES)["rows/outputs"]
    assert (np.asarray(outputs[:, 2] < -1e29) == [False, True, False, True]).all()


def test_class_weights_weigh_the_mean(weights):
    spec = GPT1(**SIZE, text_head=THREE)
    batch = sequences(1, LENGTHS[:, :1]) | {"label": np.array([0, 1, 2, 0], np.int32)}
    plain = evaluated(Classify(), spec, weights(spec), batch)
    weighted = evaluated(Classify(class_weights=(1.0, 4.0, 0.5)), spec, weights(spec), batch)
    nll = -jax.nn.log_softmax(plain["rows/outputs"])[np.arange(4), batch["label"]]
    weight = np.array([1, 4, 0.5, 1])
    assert_close(plain["loss"], nll.mean())
    assert_close(weighted["loss"], (weight * nll).sum() / weight.sum())


def test_balanced_weights_are_1_on_average_over_the_rows():
    data = SimpleNamespace(labels=("a", "b"), label_counts=(30, 10))
    weights = Classify(class_weights="balanced").settle(data).class_weights
    assert weights == (40 / 60, 40 / 20) and np.dot(weights, data.label_counts) == 40
    assert Classify(class_weights=(1.0, 2.0)).settle(data).class_weights == (1.0, 2.0)
    assert Classify().settle(data) == Classify()


def test_a_score_is_judged_in_the_deviations_of_the_data(weights):
    spec = DECODER.evolve(text_head=ONE | {"scale": (3.0, 2.0)})
    batch = sequences(1, LENGTHS[:, :1]) | {"score": PAIRS["score"]}
    plain, scaled = (evaluated(Regress(), each, weights(DECODER), batch) for each in (DECODER, spec))
    assert_close(scaled["rows/outputs"], 3 + 2 * plain["rows/outputs"])
    assert_close(scaled["loss"], np.mean((plain["rows/outputs"][:, 0] - (batch["score"] - 3) / 2) ** 2))


def test_pairs_of_a_model_with_one_type_of_token_are_of_that_type(weights):
    spec = ENCODER.evolve(token_types=1)
    other = PAIRS | {f"token_types{i}": np.zeros((4, 8), np.int32) for i in ("", "_1")}
    outputs = [evaluated(Similarity(), spec, weights(spec), batch)["rows/outputs"] for batch in (PAIRS, other)]
    np.testing.assert_array_equal(*outputs)


WHOLE = {
    "choice": (Choice(lm_weight=0.5), DECODER, CANDIDATES),
    "classify": (
        Classify(lm_weight=0.5, class_weights=(1.0, 4.0, 0.5), focal_gamma=2.0),
        GPT1(**SIZE, text_head=THREE),
        sequences(1, LENGTHS[:, :1]) | {"label": np.array([0, 1, 2, 0], np.int32)},
    ),
    "similarity": (Similarity(), ENCODER, PAIRS),
}


@pytest.mark.often("choice")
@pytest.mark.parametrize("name", WHOLE)
def test_parts_of_a_batch_have_its_gradient(name, weights):
    """Under dropout: though rows weigh differently, and have more candidates in one part than in the other."""
    objective, spec, batch = WHOLE[name]
    params = weights(spec)

    def loss(params, batch, rows):
        with by_row(rows):
            return objective.loss(spec.build(), params, batch, KEY)

    whole, parts = (jax.jit(lambda p, n=n: gradient(loss, p, batch, n)[:3])(params) for n in (1, 2))
    assert_close(parts[1], whole[1], scale=cancelled(whole[1]))
    assert_close(parts[0], whole[0])
    assert_close(parts[2], whole[2])


def test_what_cannot_be_trained_is_one_line():
    data = Data(columns=1)
    says = lambda objective, model: objective.problems(model, data, 4)  # noqa: E731
    assert says(Classify(), DECODER.evolve(text_head=THREE)) == says(Choice(lm_weight=0.5), DECODER) == []
    (line,) = says(Classify(), DECODER.evolve(text_head=None))
    assert "set model.text_head={kind: task}" in line
    (line,) = says(Classify(), DECODER.evolve(text_head={"kind": "contrastive"}))
    assert "set model.text_head={kind: task}" in line
    (line,) = says(Choice(lm_weight=0.5), ENCODER)
    assert "model bert predicts no next token" in line
    (line,) = says(Choice(lm_weight=0.5), DECODER.evolve(pattern=[Prefix(length=3)]))
    assert "predicts tokens that model.pattern.0 'prefix' shows" in line
    for objective in (Regress(), Choice()):
        (line,) = says(objective, DECODER.evolve(text_head=THREE))
        assert "leave out model.text_head.labels" in line


def test_only_the_language_model_pays_for_logits():
    table = 32 * 16
    plain, aux = (Classify(lm_weight=w).flops_per_token(DECODER, Data(columns=1)) for w in (0.0, 0.5))
    assert aux - plain == 6 * table and plain == DECODER.flops_per_token(8, scored=0)
    assert parse(Objective, {"kind": "classify"}) == Classify()
