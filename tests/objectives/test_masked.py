"""Hidden tokens: windows of a corpus are read within the frame, rows of texts, which have one, as they are."""

import jax
import numpy as np
import pytest

from jaxgpt.models import BERT
from jaxgpt.objectives import MaskedLanguageModel

T = 8
MODEL = BERT(num_layers=1, d_model=16, num_heads=2, context=T, vocab_size=32, pooler=False)
BARE = MaskedLanguageModel(masking={"mask_id": 3, "rate": 0.5})
FRAMED = BARE.evolve(frame=((1,), (2,)))
TOKENS = np.random.default_rng(0).integers(4, 32, (8, T)).astype(np.int32)
WORDS = np.broadcast_to(np.arange(1, T + 1, dtype=np.int32), TOKENS.shape).copy()


@pytest.fixture(scope="module")
def loss(weights):
    model, params = MODEL.build(), weights(MODEL)
    run = jax.jit(lambda objective, batch: objective.loss(model, params, batch, None)[1], static_argnums=0)
    return lambda objective, tokens, words, **more: run(objective, {"tokens": tokens, "words": words} | more)


def test_windows_are_read_within_the_frame(loss):
    """By hand: one token in front, one behind, the last two dropped, and neither ever hidden."""
    tokens = np.concatenate([np.full((8, 1), 1), TOKENS[:, :-2], np.full((8, 1), 2)], 1).astype(np.int32)
    words = np.pad(WORDS[:, :-2], ((0, 0), (1, 1)))
    jax.tree.map(np.testing.assert_array_equal, loss(FRAMED, TOKENS, WORDS), loss(BARE, tokens, words))
    assert loss(FRAMED, TOKENS, WORDS)["loss"] != loss(BARE, TOKENS, WORDS)["loss"]


def test_rows_of_texts_stay_as_they_are(loss):
    segments = np.ones_like(TOKENS)
    framed, bare = (loss(one, TOKENS, WORDS, segments=segments) for one in (FRAMED, BARE))
    jax.tree.map(np.testing.assert_array_equal, framed, bare)
