"""Rollouts are generation on the device, with the log-probabilities of the model itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.decode import Sampling, generate, rollout
from jaxgpt.models import Decoder
from jaxgpt.ops.attention import Auto
from jaxgpt.ops.sharding import constraining
from jaxgpt.parallel.assignment import placement_of
from jaxgpt.parallel.mesh import Mesh
from jaxgpt.parallel.rules import Replicated
from jaxgpt.spec import ConfigError

SPEC = Decoder(num_layers=2, d_model=16, num_heads=2, context=24, vocab_size=32, pattern=("causal",))
PROMPTS = ([3, 1, 4, 1, 5, 9, 2, 6, 5], [7], [2, 7, 1, 8], [1] * 16, [5, 5], [30, 2], [11], [8, 8, 8])
P, N = 16, 8
"""As many slots as `generate` pads to."""
HOT = Sampling(temperature=2.0, top_k=5, top_p=0.9, repetition_penalty=1.3)


@pytest.fixture(scope="module")
def params(weights):
    return weights(SPEC)


@pytest.fixture(scope="module")
def padded():
    tokens = np.full((len(PROMPTS), P), 13, np.int32)  # what lies in the padding does not count
    for row, ids in zip(tokens, PROMPTS, strict=True):
        row[P - len(ids) :] = ids
    return tokens, np.array([len(ids) for ids in PROMPTS], np.int32)


@partial(jax.jit, static_argnums=(0, 1))
def rolled(sampling, eot, params, tokens, lengths, key, values):
    return rollout(SPEC.build(Auto()), params, tokens, lengths, key, N, sampling, values, eot)


def key_of(seed):
    """That of `generate` in its first window."""
    return jax.random.fold_in(jax.random.key(seed), 0)


def own_log_probs(params, new):
    """float32 (B, N): of a forward pass over each prompt and what followed, padded on the right."""
    tokens = np.zeros((len(PROMPTS), SPEC.context), np.int32)
    for row, prompt, ids in zip(tokens, PROMPTS, new, strict=True):
        row[: len(prompt) + N] = [*prompt, *ids]
    logits = jax.jit(lambda params, tokens: SPEC.build().apply({"params": params}, tokens))(params, tokens)
    along = np.asarray(jax.nn.log_softmax(logits, -1))
    spans = [np.arange(len(prompt) - 1, len(prompt) - 1 + N) for prompt in PROMPTS]
    return np.stack([row[span, ids] for row, span, ids in zip(along, spans, new, strict=True)])


@pytest.mark.often("drawn")
@pytest.mark.parametrize("sampling", [Sampling(), HOT], ids=["greedy", "drawn"])
def test_tokens_are_generates_and_log_probs_those_of_a_forward_pass(sampling, params, padded):
    out = rolled(sampling, None, params, *padded, key_of(3), sampling.values)
    assert np.asarray(out.tokens_BN).tolist() == generate(SPEC, params, PROMPTS, N, sampling, seed=3)
    assert out.log_probs_BN.dtype == jnp.float32 and np.all(out.mask_BN)
    assert_close(out.log_probs_BN, own_log_probs(params, np.asarray(out.tokens_BN)))


def test_a_row_ends_with_end_of_text(params, padded):
    full = rolled(Sampling(), None, params, *padded, key_of(0), Sampling().values)
    eot = int(full.tokens_BN[0, 3])
    out = rolled(Sampling(), eot, params, *padded, key_of(0), Sampling().values)
    rows = np.asarray(full.tokens_BN).tolist()
    lengths = [row.index(eot) + 1 if eot in row else N for row in rows]
    mask = np.arange(N) < np.array(lengths)[:, None]
    assert min(lengths) < N
    np.testing.assert_array_equal(out.mask_BN, mask)
    np.testing.assert_array_equal(out.tokens_BN, np.where(mask, rows, eot))
    assert_close(out.log_probs_BN, np.where(mask, full.log_probs_BN, 0.0))


def test_rows_that_have_all_ended_are_filled(params, padded):
    """The loop ends before it has written all slots."""
    only = np.arange(SPEC.vocab_size) == 9
    run = jax.jit(lambda *given: rollout(SPEC.build(), *given, N, eot=9, drawable_V=only))
    out = run(params, *padded, key_of(0))
    np.testing.assert_array_equal(out.mask_BN, np.arange(N) < np.ones((len(PROMPTS), 1)))
    assert np.all(np.asarray(out.tokens_BN) == 9) and np.all(np.isfinite(out.log_probs_BN))
    assert np.all(np.asarray(out.log_probs_BN)[:, 0] < 0)  # the model's own: it had other choices


def test_other_keys_and_temperatures_compile_nothing(params, padded):
    outs = [rolled(HOT, None, params, *padded, key_of(0), HOT.values)]
    before = rolled._cache_size()
    others = HOT.evolve(temperature=4.0), HOT.evolve(top_p=0.5)
    outs += [rolled(HOT, None, params, *padded, key_of(1 + i), each.values) for i, each in enumerate(others)]
    assert rolled._cache_size() == before
    assert len({np.asarray(out.tokens_BN).tobytes() for out in outs}) == 3


@pytest.mark.slow
def test_a_mesh_gives_the_same_and_splits_the_rows(params, padded):
    mesh = Mesh().build()
    want = rolled(HOT, 9, params, *padded, key_of(5), HOT.values)

    @jax.jit
    def on_mesh(params, tokens, lengths, key):
        with constraining(placement_of(Replicated(), mesh)):
            return rollout(SPEC.build(Auto()), params, tokens, lengths, key, N, HOT, eot=9)

    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    out = on_mesh(params, *jax.device_put(padded, rows), key_of(5))
    assert all(x.sharding.shard_shape(x.shape) == (1, N) for x in out)
    np.testing.assert_array_equal(out.tokens_BN, want.tokens_BN)
    np.testing.assert_array_equal(out.mask_BN, want.mask_BN)
    assert_close(out.log_probs_BN, want.log_probs_BN)


def test_more_than_the_context_is_refused(params, padded):
    for n, message in ((9, "16 prompt slots and 9 new tokens exceed model.context 24"), (0, "n: 0, expected")):
        with pytest.raises(ConfigError, match=message):
            rollout(SPEC.build(), params, *padded, key_of(0), n)
