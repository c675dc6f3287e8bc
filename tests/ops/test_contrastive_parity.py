"""Losses and gradients against sentence-transformers on random embeddings (`make parity`)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.contrastive import info_nce, matryoshka, triplet

pytestmark = pytest.mark.parity

B, D = 16, 32
rng = np.random.default_rng(0)
ANCHOR, OTHER, *NEGATIVES = rng.standard_normal((4, B, D)).astype(np.float32)
COLUMNS = [ANCHOR, OTHER + ANCHOR / 3, *NEGATIVES]
PREFIXES = {"matryoshka_dims": [32, 8, 16], "matryoshka_weights": [1.0, 0.25, 0.5]}


def theirs(name, columns, prefixes=None, **options):
    """Their mean loss, and its gradient by every column."""
    import torch
    from sentence_transformers.sentence_transformer import losses
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    class Given(torch.nn.Module):
        """A model whose embeddings are its inputs."""

        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
        max_seq_length = 1

        def forward(self, features):
            return {"sentence_embedding": features["x"]}

        def get_embedding_dimension(self):
            return D

    model = Given()
    if name == "GISTEmbedLoss":
        options["guide"] = model
    if name == "TripletLoss":
        options["distance_metric"] = getattr(losses.TripletDistanceMetric, options["distance_metric"])
    loss = getattr(losses, name)(model, **options)
    if prefixes:
        loss = losses.MatryoshkaLoss(model, loss, **prefixes)
    inputs = [torch.tensor(x, requires_grad=True) for x in columns]
    value = loss([{"x": x} for x in inputs], None)
    value.backward()
    return value.item(), [x.grad.numpy() for x in inputs]


def stacked(loss):
    """Hard negatives come as one array."""
    return lambda a, p, *n: loss(a, p, jnp.stack(n) if n else None)


nested = matryoshka(info_nce, PREFIXES["matryoshka_dims"], PREFIXES["matryoshka_weights"])
RANKING = "MultipleNegativesRankingLoss"
BOTH_WAYS = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
ONLY_ACROSS = {"contrast_anchors": False, "contrast_positives": False}
CASES = {
    "pairs": (info_nce, 2, RANKING, {}),
    "hard negative": (info_nce, 3, RANKING, {}),
    "two hard negatives": (partial(info_nce, temperature=0.02), 4, RANKING, {"scale": 50.0}),
    "symmetric": (partial(info_nce, symmetric=True), 2, RANKING, BOTH_WAYS),
    "symmetric, hard negative": (partial(info_nce, symmetric=True), 3, RANKING, BOTH_WAYS),
    "margin": (
        partial(info_nce, temperature=0.1, false_negative_margin=-0.2),
        3,
        "GISTEmbedLoss",
        {"temperature": 0.1, "margin": 0.2, **ONLY_ACROSS},
    ),
    "matryoshka": (nested, 3, RANKING, {"prefixes": PREFIXES}),
    "matryoshka, symmetric": (partial(nested, symmetric=True), 3, RANKING, {"prefixes": PREFIXES, **BOTH_WAYS}),
}
TRIPLETS = {
    "cosine": (partial(triplet, margin=0.5, distance="cosine"), {"distance_metric": "COSINE", "triplet_margin": 0.5}),
    "euclidean": (partial(triplet, margin=5.0), {"distance_metric": "EUCLIDEAN", "triplet_margin": 5.0}),
}
CASES = {name: (stacked(loss), *case) for name, (loss, *case) in CASES.items()}
CASES |= {name: (loss, 3, "TripletLoss", options) for name, (loss, options) in TRIPLETS.items()}


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_equal_theirs(name):
    ours, count, peer, options = CASES[name]
    columns = COLUMNS[:count]
    want, want_grads = theirs(peer, columns, **options)
    value, grads = jax.jit(jax.value_and_grad(lambda columns: ours(*columns).mean()))(columns)
    assert want > 0.1
    assert_close(value, want)
    assert_close([*grads], [*want_grads])
    print(
        name,
        float(value),
        abs(float(value) - want),
        max(np.abs(g - w).max() for g, w in zip(grads, want_grads, strict=True)),
    )
