"""Contrastive training: parts equal the whole with dropout on, 8 devices equal 1, one mask makes copies equal."""

import jax
import numpy as np
import pytest
from close import assert_close, cancelled
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rarely import rarely

from jaxgpt.models import BERT, GPT2
from jaxgpt.objectives import InfoNCE, MaskedLanguageModel
from jaxgpt.ops.contrastive import info_nce
from jaxgpt.text import Data

KEY = jax.random.key(1)
SIZE = {"num_layers": 1, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32, "dropout": 0.3}
MASKING = {"mask_id": 3, "rate": 0.4}
rng = np.random.default_rng(0)
MODELS = {
    "encoder": BERT(**SIZE, pooler=False, text_head={"kind": "contrastive", "projection": "mlp", "temperature": 0.2}),
    "decoder": GPT2(**SIZE, text_head={"kind": "contrastive", "pooling": "last"}),
}


def texts(count, rows=16):
    batch = {}
    for i in range(count):
        real = np.arange(8) < rng.integers(2, 9, rows)[:, None]
        name = f"_{i}" if i else ""
        batch |= {f"tokens{name}": (rng.integers(4, 32, (rows, 8)) * real).astype(np.int32)}
        batch |= {f"segments{name}": real.astype(np.int32)}
    return batch | {"words": np.where(batch["segments"] > 0, np.arange(1, 9), 0).astype(np.int32)}


def gradient(objective, model, params, batch):
    return jax.value_and_grad(lambda p: objective.loss(model, p, batch, KEY), has_aux=True)(params)


ENCODER, DECODER = ("encoder", 1), ("decoder", 3)


@pytest.fixture(scope="module")
def case(request, weights):
    """A model, its parameters, a batch, an objective, and what it says of the whole batch on one device."""
    name, count = request.param
    spec, batch = MODELS[name], texts(count)
    objective = InfoNCE(masking=MASKING if name == "encoder" else None)
    model, params = spec.build(), weights(spec)
    whole = jax.jit(lambda p, b: gradient(objective, model, p, b))(params, batch)
    return model, params, batch, objective, whole


@pytest.mark.parametrize(
    "case", [pytest.param(ENCODER, id="encoder 1"), rarely(DECODER, id="decoder 3")], indirect=True
)
def test_parts_equal_the_whole(case):
    """GradCache, dropout and masks included; 3 does not divide 16, so 2 is taken."""
    model, params, batch, objective, whole = case
    parts = jax.jit(lambda p, b: gradient(objective.evolve(chunk=3), model, p, b))(params, batch)
    assert_close(parts, whole, scale=cancelled(whole[1]))


@pytest.mark.parametrize(
    "case", [rarely(ENCODER, id="encoder 1"), pytest.param(DECODER, id="decoder 3")], indirect=True
)
def test_eight_devices_equal_one(case):
    """The encoder's batch whole, the decoder's in two parts."""
    model, params, batch, objective, whole = case
    objective = objective if objective.masking else objective.evolve(chunk=8)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    everywhere, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
    step = jax.jit(
        lambda p, b: gradient(objective, model, p, b),
        in_shardings=(everywhere, rows),
        out_shardings=everywhere,
    )
    assert_close(step(params, batch), whole, scale=cancelled(whole[1]))


def test_one_mask_makes_copies_equal(weights):
    """The failure that SimCSE's table 3 calls `fixed`: must be seen, and only where it is asked for."""
    spec = MODELS["encoder"]
    model, params, batch = spec.build(), weights(spec), texts(1)
    run = jax.jit(lambda o: o.loss(model, params, batch, KEY)[1], static_argnums=0)
    two, one = run(InfoNCE()), run(InfoNCE(same_mask=True))
    assert one["aux/alignment"] < 1e-8 < 1e-2 < two["aux/alignment"]
    assert one["aux/accuracy"] == 1


def test_texts_of_a_row_go_where_they_belong(weights):
    """Without dropout the loss is that of the embeddings that the model makes of each column alone."""
    spec = MODELS["encoder"].evolve(dropout=0.0)
    model, params, batch = spec.build(), weights(spec), texts(4)
    embed = jax.jit(lambda t, s: model.apply({"params": params}, t, segments=s, method="represent"))
    z = [embed(batch[f"tokens{n}"], batch[f"segments{n}"]) for n in ("", "_1", "_2", "_3")]
    objective = InfoNCE(hard_negative_weight=1.5)
    loss, metrics = jax.jit(lambda b: objective.loss(model, params, b, None))(batch)
    temperature = np.exp(params["text_head"]["log_temperature"])
    want = info_nce(z[0], z[1], np.stack(z[2:]), temperature, hard_negative_weight=1.5).mean()
    assert_close(loss, want)
    assert_close(metrics["aux/temperature"], temperature, 1e-6)


def test_one_positive_of_two_rows_is_no_negative(weights):
    spec = MODELS["encoder"].evolve(dropout=0.0)
    model, params, batch = spec.build(), weights(spec), texts(2)
    for name in ("tokens_1", "segments_1"):
        batch[name][1] = batch[name][0]
    loss = lambda **given: jax.jit(lambda b: InfoNCE(**given).loss(model, params, b, None)[0])(batch)  # noqa: E731
    assert loss(mask_duplicates=True) < loss()


def test_flops_count_the_logits_that_are_made():
    """None for a contrast; where anchors are filled in, those of `predictions`, in a pass more for one of the texts."""
    model = MODELS["encoder"]
    bare = model.flops_per_token(8, scored=0.0)
    lone, three = Data(columns=1), Data(columns=3)
    assert InfoNCE().flops_per_token(model, lone) == bare < model.flops_per_token(8)
    told = InfoNCE(masking={"mask_id": 3, "predictions": 2})
    once = MaskedLanguageModel(masking={"mask_id": 3, "predictions": 2}).flops_per_token(model, lone)
    assert once == model.flops_per_token(8, scored=0.25)
    assert (
        told.flops_per_token(model, lone) == bare + once / 2 and told.flops_per_token(model, three) == bare + once / 3
    )
