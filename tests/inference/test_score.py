"""How likely texts are after others: what a forward pass over both says, whatever the batch."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.decode import generate
from jaxgpt.evals.pairs import Pair, encode_pairs
from jaxgpt.inference.loaded import Loaded
from jaxgpt.inference.score import score
from jaxgpt.models import GPT2, Llama, Mistral
from jaxgpt.ops.patterns import Banded
from jaxgpt.parallel import Mesh, Standard, shardings
from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.byte import ByteCodec

MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=257, context=24)
CONTEXTS = ["Once upon", "a", "Once upon a time there was a dog that", "", "who? "]
CONTINUATIONS = [" a time", "b", " sang", "The", "me"]


@pytest.fixture(scope="module")
def m(weights):
    return Loaded(MODEL, MODEL, weights(MODEL, std=0.3), ByteCodec())


def by_forward(m, pair):
    """Log-probability and flag, from the logits of one row."""
    ids = [*pair.context, *pair.continuation][-m.model.room - 1 :]
    log_p = np.asarray(jax.nn.log_softmax(jnp.asarray(m.logits([ids[:-1]]))[0]), np.float64)[-len(pair.continuation) :]
    right = [int(np.argmax(row)) == token for row, token in zip(log_p, pair.continuation, strict=True)]
    return sum(row[token] for row, token in zip(log_p, pair.continuation, strict=True)), all(right)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_continuation_is_worth_what_a_forward_pass_gives_it(m, batch_size):
    pairs = encode_pairs(m.tokenizer, CONTEXTS, CONTINUATIONS)
    want = [by_forward(m, pair) for pair in pairs]
    found = m.score(CONTEXTS, CONTINUATIONS, batch_size, quiet=True)
    assert_close([each.log_prob for each in found], [log_prob for log_prob, _ in want])
    assert [each.greedy for each in found] == [greedy for _, greedy in want]


@pytest.mark.often("2-banded", "32-prompt", "2-prefix")
@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        Llama(num_layers=2, d_model=16, num_heads=4, num_kv_heads=2, vocab_size=257, context=24),
        Mistral(num_layers=2, d_model=16, num_heads=2, vocab_size=257, context=24, pattern=(Banded(window=5),)),
        MODEL.evolve(adapter={"kind": "prompt", "tokens": 3}),
        MODEL.evolve(adapter={"kind": "prefix", "tokens": 3}),
    ],
    ids=["learned", "rotary", "banded", "prompt", "prefix"],
)
@pytest.mark.parametrize("batch_size", [2, 32])
def test_continuations_that_share_a_context_are_worth_the_same_alone(weights, model, batch_size):
    """Several behind one context, of one token and of many, more than a batch holds, and one too long to share."""
    m = Loaded(model, model, weights(model, std=0.3), ByteCodec())
    contexts = ["Once upon"] * 5 + ["a"] * 2 + ["who"]
    pairs = encode_pairs(m.tokenizer, contexts, [" a time", " a", "x", " there was 1", "!" * 20, "b", "c", "me"])
    seen = []
    found = m.score_pairs(pairs, batch_size, quiet=True, done=lambda *done: seen.extend(zip(*done, strict=True)))
    want = [by_forward(m, pair) for pair in pairs]
    assert_close([each.log_prob for each in found], [log_prob for log_prob, _ in want])
    assert [each.greedy for each in found] == [greedy for _, greedy in want]
    assert sorted(seen) == list(enumerate(found))


def test_what_greedy_writing_writes_is_greedy(m):
    context = m.tokenizer.encode("Once")
    pair = Pair(context, generate(MODEL, m.params, [context], 5)[0])
    other = pair._replace(continuation=[*pair.continuation[:-1], (pair.continuation[-1] + 1) % 256])
    first, second = score(m._scanned, m.params, [pair, other], MODEL.context, quiet=True)
    assert first.greedy and not second.greedy and first.log_prob > second.log_prob


def test_spaces_before_the_border_belong_to_what_follows(m):
    assert encode_pairs(m.tokenizer, ["who? "], ["me"]) == encode_pairs(m.tokenizer, ["who?"], [" me"])
    (empty,) = encode_pairs(m.tokenizer, [""], ["x"])
    assert empty.context == [m.tokenizer.eot]


@pytest.mark.parametrize(
    ("contexts", "continuations", "message"),
    [
        ("a", ["b"], "expected a list of texts"),
        (["a"], ["b", "c"], "continuations: 2 for 1 contexts; expected one for each"),
        (["a", "b"], ["c", ""], "continuations: row 1, '', adds no token to its context"),
        (["a"], ["b" * 25], "continuations: row 0 has 25 tokens; the model reads 24 at most"),
        ([3], ["b"], "contexts"),
    ],
)
def test_what_cannot_be_scored_is_one_line(m, contexts, continuations, message):
    with pytest.raises(ConfigError, match=message):
        m.score(contexts, continuations)
    assert m.score([], []) == []


def test_an_encoder_scores_nothing(weights):
    model = jaxgpt.models.BERT(num_layers=1, d_model=16, num_heads=2, vocab_size=257, context=24)
    with pytest.raises(ConfigError, match="continue no text"):
        Loaded(model, model, weights(model), ByteCodec()).score(["a"], ["b"])


def test_a_mesh_changes_nothing(m):
    mesh = Mesh(data=2, fsdp=2, tensor=2).build()
    where = shardings(MODEL.shapes(), Standard(), mesh, "params/")
    split = replace(m, params=jax.device_put(m.params, where), views={})
    pairs = encode_pairs(m.tokenizer, ["Once upon", "Once upon", "a"], [" a time", " b", "c"])
    want, found = (each.score_pairs(pairs, quiet=True) for each in (m, split))
    assert_close([each.log_prob for each in found], [each.log_prob for each in want])
    assert [each.greedy for each in found] == [each.greedy for each in want]
