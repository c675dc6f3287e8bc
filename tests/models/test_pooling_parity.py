"""Poolings of a real BERT's layers, as SimCSE's code makes them of Hugging Face's hidden states, on padded batches."""

import jax
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.ops.pooling import layered, pool

torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")

pytestmark = pytest.mark.parity
LENGTHS = np.array([9, 3, 6, 1])
rng = np.random.default_rng(0)
TOKENS = rng.integers(0, 50, (4, 9))
REAL = np.arange(9) < LENGTHS[:, None]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    theirs = transformers.BertModel(transformers.BertConfig(vocab_size=50, initializer_range=0.3, **sizes)).eval()
    folder = tmp_path_factory.mktemp("bert")
    theirs.save_pretrained(folder)
    return theirs, jaxgpt.load(folder)


def simcse(name, out, mask):
    """princeton-nlp/SimCSE, models.py, in words of ours."""
    last, states, mask = out.last_hidden_state, out.hidden_states, mask[..., None]
    if name == "cls":
        return last[:, 0]
    layers = {"mean": [last], "first_last": [states[1], states[-1]], "top2": [states[-2], states[-1]]}[name]
    return (sum(layers) / len(layers) * mask).sum(1) / mask.sum(1)


@pytest.mark.parametrize("name", ["cls", "mean", "first_last", "top2"])
@pytest.mark.parametrize("loop", ["unroll", "scan"])
def test_poolings(both, name, loop):
    theirs, ours = both
    mask = torch.tensor(REAL.astype(np.float32))
    with torch.no_grad():
        out = theirs(torch.tensor(TOKENS), attention_mask=mask, output_hidden_states=True)
    module = ours.model.build(loop=loop)

    @jax.jit
    def vectors(params):
        segments = REAL.astype(np.int32)
        every = layered([name])
        states = module.apply({"params": params}, TOKENS, segments=segments, every=every, method="states")
        return pool(name, states, REAL)

    assert_close(vectors(ours.params), simcse(name, out, mask))


def test_berts_own_pooler(both):
    theirs, ours = both
    with torch.no_grad():
        want = theirs(torch.tensor(TOKENS), attention_mask=torch.tensor(REAL.astype(np.float32))).pooler_output
    got = ours.model.build().apply({"params": ours.params}, TOKENS, segments=REAL.astype(np.int32), method="outputs")
    assert_close(got.pooled, want)
