"""Next-sentence prediction: scored on whole rows, added to the masked loss, the same on any mesh, refused early."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from close import assert_close
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgpt.models import BERT
from jaxgpt.objectives import MaskedLanguageModel
from jaxgpt.spec import ConfigError, parse
from jaxgpt.text import Data
from jaxgpt.text.tokenizers.byte import ByteCodec

V, T = 32, 8
MODEL = BERT(num_layers=1, d_model=16, num_heads=2, context=T, vocab_size=V, next_sentence=True)
OBJECTIVE = MaskedLanguageModel(masking={"mask_id": 3}, frame=((1,), (2,)), next_sentence={"weight": 0.5})
rng = np.random.default_rng(0)
TOKENS = rng.integers(4, V, (8, T)).astype(np.int32)
BATCH = {
    "tokens": TOKENS,
    "words": np.broadcast_to(np.arange(1, T + 1, dtype=np.int32), TOKENS.shape).copy(),
    "weights": np.ones(TOKENS.shape, np.float32),
}


@pytest.fixture(scope="module")
def loss(weights):
    params, module = weights(MODEL), MODEL.build()
    run = jax.jit(lambda batch, key, params: OBJECTIVE.loss(module, params, batch, key))
    return lambda batch=BATCH, key=None, **other: jax.tree.map(float, run(batch, key, params | other))


def test_the_choice_is_added_in_training_alone(loss):
    whole, metrics = loss(key=jax.random.key(1))
    assert whole == pytest.approx(metrics["loss"] + 0.5 * metrics["aux/next_sentence"], rel=1e-6)
    assert 0.1 < metrics["aux/next_sentence"] < 5 and 0 <= metrics["aux/next_sentence_accuracy"] <= 1
    plain, held = loss()
    assert plain == held["loss"] and held["aux/next_sentence"] > 0


def test_eight_devices_draw_the_same_pairs(loss, weights):
    """A second segment may come from another device."""
    params, module = weights(MODEL), MODEL.build()
    mesh = Mesh(np.array(jax.devices()), ("data",))
    everywhere, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
    step = jax.jit(lambda b, p: OBJECTIVE.loss(module, p, b, jax.random.key(1)), in_shardings=(rows, everywhere))
    spread, alone = step(BATCH, params), loss(key=jax.random.key(1))
    assert_close(spread, alone)


def test_rows_without_text_to_their_end_are_not_judged(loss):
    _, whole = loss()
    cut = {**BATCH, "weights": BATCH["weights"] * (np.arange(8) < 7)[:, None]}
    _, partly = loss(cut)
    assert partly["aux/next_sentence"] != whole["aux/next_sentence"]
    _, none = loss({**BATCH, "weights": BATCH["weights"] * 0})
    assert none["aux/next_sentence"] == 0 == none["aux/next_sentence_accuracy"]


@pytest.mark.slow
def test_hugging_face_order_of_the_two_logits(loss):
    """0: follows, 1: does not (BertForPreTraining's `next_sentence_label`)."""
    sure = {"weight": np.zeros((16, 2), np.float32), "bias": np.array([9, -9], np.float32)}
    _, metrics = loss(key=jax.random.key(0), next_sentence=sure)
    _, made, _ = OBJECTIVE.next_sentence.pairs(BATCH, jax.random.fold_in(jax.random.key(0), 1), ((1,), (2,)))
    assert metrics["aux/next_sentence_accuracy"] == 1 - made.swapped_B.mean()


def test_what_cannot_be_judged_is_refused_before_anything_runs():
    def problems(model=MODEL, rows=8, **data):
        return OBJECTIVE.problems(model, Data(**data), rows)

    assert problems() == []
    assert "needs an encoder with model.next_sentence" in problems(MODEL.evolve(next_sentence=False))[0]
    assert "model.token_types 2" in problems(MODEL.evolve(token_types=1))[0]
    assert "leave data.columns out" in problems(columns=1)[0]
    assert "data.documents cross" in problems(documents="separate")[0]
    assert "rows of 5 tokens; data.seq_len is 4" in problems(seq_len=4)[0]
    assert "no other segment" in problems(rows=1)[0]
    with pytest.raises(ConfigError, match="next_sentence judges the pooler's summary; set pooler true"):
        parse(BERT, {"num_layers": 1, "d_model": 16, "num_heads": 2, "next_sentence": True, "pooler": False})


def test_a_vocabulary_without_a_frame_is_refused():
    wants = MaskedLanguageModel(masking={"mask_id": 3}, next_sentence={})
    with pytest.raises(ConfigError, match=r"objective.frame: the tokenizer has no \[CLS\] and \[SEP\]"):
        wants.settle(SimpleNamespace(codec=ByteCodec()))
