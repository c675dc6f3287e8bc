"""A vocabulary padded inside the graph changes neither the loss nor a gradient, for every kind of output."""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.models import BERT, GPT2
from jaxgpt.objectives.token_losses import token_losses

SHAPE = {"num_layers": 1, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 37}
MODELS = {
    "tied": GPT2(**SHAPE),
    "with a bias of its own": GPT2(**SHAPE, tied=False, head_bias=True),
    "capped": GPT2(**SHAPE, logit_cap=2.0),
    "masked head": BERT(**SHAPE),
}
rng = np.random.default_rng(0)
HIDDEN = rng.standard_normal((2, 8, 16)).astype(np.float32)
TARGETS = rng.integers(0, 37, (2, 8)).astype(np.int32)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The loss's and the output's programs for a GPU, on whatever device there is."""

    def begin():
        for module in ("lookup", "token_statistics"):
            monkeypatch.setattr(f"jaxgpt.ops.{module}.platform", lambda: "gpu")

    return begin


@pytest.mark.parametrize(("name", "chunk"), [*((name, "all") for name in MODELS), ("tied", 5)])
def test_padding_changes_nothing(as_on_a_gpu, weights, name, chunk):
    model = MODELS[name]
    module, params = model.build(), weights(model)

    def loss(params, hidden):
        losses, plain = token_losses(module, params, hidden, TARGETS, chunk, 0.1, 0.01)
        return losses.sum(), plain

    def run():
        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, HIDDEN)

    want = run()
    as_on_a_gpu()
    text = str(jax.make_jaxpr(loss)(params, HIDDEN))
    assert ",128]" in text and ",37]" not in text.replace("[16,37]", "").replace("[37]", "")
    assert_close(run(), want, 1e-5)
