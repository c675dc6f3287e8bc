"""Logits and gradients equal Hugging Face's GPT-2 and OpenAI GPT on random weights, in float32, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgpt.interop import gpt1, gpt2
from jaxgpt.objectives import LanguageModel

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")

TOLERANCE = 1e-5
SIZE = {"vocab_size": 37, "n_positions": 16, "n_embd": 24, "n_layer": 3, "n_head": 4}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
CASES = {
    "gpt2": (gpt2, "GPT2", {}),
    "gpt2-untied-erf": (gpt2, "GPT2", {"tie_word_embeddings": False, "activation_function": "gelu", "n_inner": 40}),
    "gpt1": (gpt1, "OpenAIGPT", {}),
}


@pytest.fixture(autouse=True)
def float32_matmuls():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with jax.default_matmul_precision("float32"):
        yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture(params=CASES)
def pair(request):
    """A random Hugging Face model, our model of the same configuration, the family's map, and token ids."""
    family, name, more = CASES[request.param]
    config = getattr(transformers, f"{name}Config")(**SIZE | NO_DROPOUT | more)
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{name}LMHeadModel")(config).eval()
    with torch.no_grad():
        for path, tensor in theirs.named_parameters():  # no bias at 0, no gain at 1
            tensor.normal_(1.0 if ".ln_" in path and path.endswith("weight") else 0.0, 0.2)
    ids = np.random.default_rng(0).integers(0, SIZE["vocab_size"], (3, SIZE["n_positions"]))
    return theirs, family.spec_from_hf(config.to_dict()), family, ids


def state(theirs):
    return {name: tensor.detach().numpy() for name, tensor in theirs.state_dict().items()}


def logits(model, params, ids):
    return np.asarray(jax.jit(model.build().apply)({"params": params}, jnp.asarray(ids)))


def their_logits(theirs, ids):
    with torch.no_grad():
        return theirs(torch.from_numpy(ids)).logits.numpy()


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


def test_logits_of_their_weights(pair):
    theirs, model, family, ids = pair
    want = their_logits(theirs, ids)
    assert np.std(want) > 0.1
    close(logits(model, family.from_hf(state(theirs), model), ids), want)


def test_logits_of_our_weights(pair):
    theirs, model, family, ids = pair
    draw = np.random.default_rng(1)
    start = model.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + draw.normal(0, 0.2, leaf.shape).astype(np.float32), start)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in family.to_hf(params, model).items()}
    missing, unexpected = theirs.load_state_dict(tensors, strict=False)
    assert unexpected == []
    assert missing == (["lm_head.weight"] if model.tied else [])  # tied: the same tensor as the token table
    close(logits(model, params, ids), their_logits(theirs, ids))


def test_gradients_of_every_parameter(pair):
    """Of the mean next-token loss. A tied table gets the sum of what both its uses contribute."""
    theirs, model, family, ids = pair
    loss = theirs(torch.from_numpy(ids), labels=torch.from_numpy(ids)).loss
    loss.backward()
    want = {name: tensor.grad.numpy() for name, tensor in theirs.named_parameters()}

    batch = {"tokens": jnp.asarray(ids[:, :-1]), "targets": jnp.asarray(ids[:, 1:])}
    objective = lambda params: LanguageModel().loss(model.build(), params, batch, None)[0]  # noqa: E731
    ours, grads = jax.jit(jax.value_and_grad(objective))(family.from_hf(state(theirs), model))

    close(ours, loss.detach().numpy())
    named = family.to_hf(grads, model)
    assert set(named) == set(want)
    assert len(want) == len(list(theirs.parameters()))
    for name in want:
        assert np.abs(want[name]).max() > 0, name
        close(named[name], want[name])
    jax.tree.map(close, grads, family.from_hf(want, model))
