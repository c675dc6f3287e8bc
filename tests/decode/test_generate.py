"""Cached generation equals the uncached forward, for every choice a decoder has."""

from functools import lru_cache
from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from rarely import mostly, rarely

from jaxgpt.decode import Sampling, generate, stream
from jaxgpt.decode.generation import ADVANCE, BEGIN
from jaxgpt.models import Decoder
from jaxgpt.nn.layout import Layout
from jaxgpt.spec import ConfigError, JaxgptError, members

STRETCHED = {
    "rotary_linear": {"kind": "rotary_linear", "factor": 2},
    "rotary_llama3": {"kind": "rotary_llama3", "factor": 2, "trained": 12},
    "rotary_ntk": {"kind": "rotary_ntk", "factor": 2},
    "rotary_yarn": {"kind": "rotary_yarn", "factor": 2, "trained": 12, "fast": 2, "slow": 0.5},
}
VARIANTS = {
    **{f"position={kind}": {"position": STRETCHED.get(kind, kind)} for kind in members("position")},
    "rotary half, one shared key/value head": {
        "position": {"kind": "rotary", "pairing": "half"},
        "num_heads": 4,
        "num_kv_heads": 1,
    },
    "grouped heads, own width": {"num_heads": 4, "num_kv_heads": 2, "d_head": 6, "position": "alibi"},
    "qk_norm, soft cap": {"qk_norm": "rms", "soft_cap": 5.0, "position": "rotary"},
    "banded": {"pattern": ["causal", {"kind": "banded", "window": 4}], "num_layers": 2},
    "strided and fixed": {
        "pattern": [{"kind": "strided", "stride": 4}, {"kind": "fixed", "stride": 4, "summary": 1}],
        "num_layers": 2,
    },
    "heads of two bands, rotary": {
        "pattern": {
            "kind": "per_head",
            "of": [{"kind": "banded", "window": 3}, {"kind": "dilated", "window": 2, "dilation": 3}],
        },
        "position": "rotary",
    },
    "sinks, t5": {"pattern": {"kind": "sinks", "window": 3, "count": 2}, "position": "t5"},
    "post-norm": {"norm_place": "post"},
    "parallel, partly turned, biases apart, head bias": {
        "residual": "parallel",
        "position": {"kind": "rotary", "width": 4},
        "qkv_bias": False,
        "tied": False,
        "head_bias": True,
    },
    "parallel with one norm, embeddings normalised, alibi, 3 heads": {
        "residual": "parallel_one_norm",
        "embed_norm": "layer",
        "position": "alibi",
        "num_heads": 3,
        "d_head": 6,
    },
    "norms on both sides, caps, scales": {
        "norm_place": "both",
        "norm": {"kind": "rms", "zero_centered": True},
        "soft_cap": 5.0,
        "logit_cap": 3.0,
        "embed_scale": 4.0,
        "score_scale": 1.0,
        "position": "rotary",
    },
    "untied, gated, no bias": {"tied": False, "feed_forward": "gated", "bias": False, "norm": "rms"},
}
PROMPTS = ([3, 1, 4, 1, 5, 9, 2, 6, 5], [7], [2, 7, 1, 8])
NEW = 12


def decoder(**fields):
    fixed = {"num_layers": 1, "d_model": 16, "num_heads": 2, "context": 24, "vocab_size": 32}
    return Decoder.model_validate(fixed | fields)


@lru_cache
def forward(spec):
    return jax.jit(lambda params, tokens: spec.build().apply({"params": params}, tokens))


def logits_along(spec, params, rows):
    """float32 (B, T, V) of rows of uneven length: padding on the right, which causality hides."""
    tokens = np.zeros((len(rows), spec.context), np.int32)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids
    return np.asarray(forward(spec)(params, tokens))


def greedy(spec, params, prompt, count, adjust=lambda logits, ids: logits):
    """Token by token, without a cache."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(np.argmax(adjust(logits_along(spec, params, [ids] * 3)[0, len(ids) - 1], ids))))
    return ids[len(prompt) :]


def joined(pieces):
    """Row by row, what all the pieces hold."""
    return [list(chain(*column)) for column in zip(*pieces, strict=True)]


@pytest.mark.often("position=learned", "banded", "sinks")
@pytest.mark.parametrize(
    "name", mostly(VARIANTS, "position=learned", "banded", "strided and fixed", "sinks, t5", "post-norm")
)
def test_greedy_tokens_are_the_uncached_ones(name, weights):
    spec = decoder(**VARIANTS[name])
    params = weights(spec)
    new = generate(spec, params, PROMPTS, NEW)
    assert [len(ids) for ids in new] == [NEW] * len(PROMPTS)
    logits = logits_along(spec, params, [prompt + ids for prompt, ids in zip(PROMPTS, new, strict=True)])
    for row, prompt, ids in zip(logits, PROMPTS, new, strict=True):
        choice = row[len(prompt) - 1 : len(prompt) - 1 + NEW]
        assert_close(choice[np.arange(NEW), ids], choice.max(-1))


@pytest.mark.often(
    "position=rotary",
    "strided and fixed",
    "sinks",
    "qk_norm",
    "parallel with one norm",
    "heads of two bands",
    "norms on both sides",
)
@pytest.mark.parametrize(
    "name", [rarely(name) if name[9:] in STRETCHED and name != "position=rotary_yarn" else name for name in VARIANTS]
)
def test_cached_logits_are_the_uncached_ones(name, weights):
    """Two rows padded on the left to 6 slots, read in one call, then continued token by token."""
    spec = decoder(**VARIANTS[name])
    params = weights(spec)
    read, total = 6, 12
    padding = np.array([0, 3], np.int32)
    tokens = np.random.default_rng(0).integers(0, 32, (2, total), dtype=np.int32)
    pos = np.arange(total) - padding[:, None]

    @jax.jit
    def cached(params, tokens):
        module = spec.build()

        def extend(cache, ids, first, count):
            at = jax.lax.dynamic_slice(jnp.asarray(pos), (0, first), (2, count))
            layout = Layout(at, cursor=jnp.int32(first), padding=jnp.asarray(padding), capacity=total)
            hidden, cache = module.apply({"params": params}, ids, layout, cache, method="extend")
            return cache, module.apply({"params": params}, hidden, method="unembed")

        cache, head = extend(spec.cache(2, total), tokens[:, :read], 0, read)
        step = lambda cache, at: extend(cache, jax.lax.dynamic_slice(tokens, (0, at), (2, 1)), at, 1)  # noqa: E731
        tail = jax.lax.scan(step, cache, jnp.arange(read, total))[1]
        return jnp.concatenate([head, jnp.moveaxis(tail[:, :, 0], 0, 1)], 1)

    got = np.asarray(cached(params, tokens))
    rows = [ids[lack:].tolist() for ids, lack in zip(tokens, padding, strict=True)]
    want = logits_along(spec, params, [*rows, rows[0]])
    for row, lack in enumerate(padding):
        assert_close(got[row, lack:], want[row, : total - lack])


@pytest.fixture(scope="module")
def model(weights):
    spec = decoder(num_layers=2)
    return spec, weights(spec)


@pytest.fixture(scope="module")
def written(model):
    return generate(*model, PROMPTS, NEW)


def test_a_row_does_not_depend_on_its_batch(model, written):
    assert [generate(*model, [prompt], NEW)[0] for prompt in PROMPTS] == written


@pytest.mark.parametrize("every", [1, 5, 50])
def test_pieces_join_to_the_whole(model, written, every):
    pieces = list(stream(*model, PROMPTS, NEW, every=every))
    assert len(pieces) == -(-NEW // every)
    assert joined(pieces) == written


def test_draws_stay_among_the_likeliest_and_follow_the_seed(model):
    spec, params = model
    prompts, hot = [PROMPTS[0], PROMPTS[0], PROMPTS[2]], Sampling(temperature=2.0, top_k=3)
    new = generate(spec, params, prompts, NEW, hot, seed=1)
    logits = logits_along(spec, params, [prompt + ids for prompt, ids in zip(prompts, new, strict=True)])
    for row, prompt, ids in zip(logits, prompts, new, strict=True):
        choice = row[len(prompt) - 1 : len(prompt) - 1 + NEW]
        third = np.sort(choice, -1)[:, -3]
        assert (choice[np.arange(NEW), ids] >= third - 1e-5).all()
    assert new[0] != new[1]  # equal prompts draw apart
    pieces = list(stream(spec, params, prompts, NEW, hot, seed=1, every=5))
    assert joined(pieces) == new
    assert generate(spec, params, prompts, NEW, hot, seed=2) != new


def test_another_setting_compiles_nothing(model):
    """There are ten programs at most: with a penalty or without; greedy, or drawn with and without both cuts."""
    settings = [
        Sampling(temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty)
        for temperature in (0.0, 1e-38, 0.5, 0.8, 1.0)
        for top_k in (None, 1, 40, 10**30)
        for top_p in (None, 0.5, 0.9, 1.0)
        for penalty in (None, 1.1, 1.3)
    ]
    assert len({sampling.steps for sampling in settings}) == 10
    some = [sampling for sampling in settings if sampling.steps == settings[-1].steps or sampling == settings[0]]
    before = BEGIN._cache_size(), ADVANCE._cache_size()
    for index, sampling in enumerate(some):
        for _ in stream(*model, PROMPTS, 3 + index % 9, sampling, seed=index, every=2):
            pass
    assert len(some) > 12 and (BEGIN._cache_size() - before[0], ADVANCE._cache_size() - before[1]) <= (2, 2)


def test_end_of_text_ends_a_row_and_only_that_row(model, written):
    eot = written[0][4]
    expected = [ids[: ids.index(eot)] if eot in ids else ids for ids in written]
    assert generate(*model, PROMPTS, NEW, ends=[eot]) == expected
    pieces = list(stream(*model, PROMPTS, NEW, ends=[eot], every=2))
    assert joined(pieces) == expected


def test_an_id_without_text_is_never_drawn(model, written):
    spec, params = model
    likely = {token for row in written for token in row}
    has_text = np.array([token not in likely for token in range(spec.vocab_size - 3)])  # the last three are padding
    assert written[0][0] in likely and has_text.any()
    for sampling in (Sampling(), Sampling(temperature=5.0, repetition_penalty=1.5)):
        new = generate(spec, params, PROMPTS, NEW, sampling, has_text=has_text)
        assert all(token < len(has_text) and has_text[token] for row in new for token in row)
    assert generate(spec, params, PROMPTS, NEW, has_text=np.ones(spec.vocab_size, bool)) == written


def test_one_candidate_is_greedy(model, written):
    assert generate(*model, PROMPTS, NEW, Sampling(temperature=0.7, top_k=1)) == written


def test_repetition_is_penalised_over_prompt_and_continuation(model, written):
    spec, params = model

    def penalised(logits, ids):
        seen = np.isin(np.arange(len(logits)), ids)
        return np.where(seen, np.where(logits > 0, logits / 1.5, logits * 1.5), logits)

    new = generate(spec, params, PROMPTS, NEW, Sampling(repetition_penalty=1.5))
    assert new == [greedy(spec, params, prompt, NEW, penalised) for prompt in PROMPTS]
    assert new != written


def test_beyond_the_context_it_goes_on_from_the_last_half(model):
    spec, params = model
    prompt = list(range(20))
    first = greedy(spec, params, prompt, 4)
    then = greedy(spec, params, [*prompt, *first][-12:], 5)
    assert generate(spec, params, [prompt], 9) == [first + then]


ENDLESS = {"pattern": {"kind": "banded", "window": 5}, "position": "rotary", "num_layers": 2}


def test_a_banded_layer_keeps_a_ring_as_long_as_its_window():
    spec = decoder(pattern=["causal", {"kind": "banded", "window": 5}], num_layers=2)
    assert [layer.past.k.shape[2] for layer in spec.cache(1, 24)] == [24, 5]
    assert [layer.past.k.shape[2] for layer in decoder(**ENDLESS).cache(1, 100_000)] == [5, 5]


def test_a_model_without_a_longest_distance_writes_past_its_context_unbroken(weights):
    """Bands and relative positions: the cached row of 60 tokens is what a model of that context says at once."""
    spec = decoder(**ENDLESS)
    params = weights(spec)
    assert (
        spec.endless
        and not decoder(position="rotary").endless
        and not decoder(**ENDLESS | {"position": "learned"}).endless
    )
    prompts = [[1, 2, 3], list(range(30))]  # the second is longer than the context
    new = generate(spec, params, prompts, 30)
    wide = spec.evolve(context=64)
    logits = logits_along(wide, params, [prompt + ids for prompt, ids in zip(prompts, new, strict=True)])
    for row, prompt, ids in zip(logits, prompts, new, strict=True):
        choice = row[len(prompt) - 1 : len(prompt) - 1 + 30]
        assert_close(choice[np.arange(30), ids], choice.max(-1))


def test_beyond_the_context_a_row_still_does_not_depend_on_its_batch(model):
    prompts = [list(range(20)), list(range(15)), [7]]
    assert generate(*model, prompts, 9) == [generate(*model, [prompt], 9)[0] for prompt in prompts]


def test_nothing_asked_is_nothing_written(model):
    assert generate(*model, [], 4) == [] and generate(*model, [[1], [2]], 0) == [[], []]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([[1], []], "prompt 1: empty"),
        ([[1, 32]], "prompt 0: holds ids outside the vocabulary of 32"),
        ([[1, -1]], "prompt 0: holds ids outside the vocabulary of 32"),
        ([[1], [1] * 25], "prompt 1: 25 tokens exceed model.context 24"),
        (["text"], "prompt 0: 'text', expected a list of token ids"),
        ([[1], [1.5]], "prompt 1: .1.5., expected a list of token ids"),
        ([[1, [2]]], "prompt 0: .*, expected a list of token ids"),
        ([[1, None]], "prompt 0: .*, expected a list of token ids"),
        ([[10**30]], "prompt 0: .*, expected a list of token ids"),
        ([7], "prompt 0: 7, expected a list of token ids"),
    ],
)
def test_bad_input_is_refused_in_one_line(model, prompts, message):
    with pytest.raises(ConfigError, match=message) as caught:
        generate(*model, prompts, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_new": 2.5}, "max_new: 2.5, expected a whole number from 0 to 1,000,000"),
        ({"max_new": -1}, "max_new: -1, expected"),
        ({"max_new": True}, "max_new: True, expected"),
        ({"max_new": None}, "max_new: None, expected"),
        ({"max_new": 10**12}, "max_new: 1000000000000, expected"),
        ({"seed": 2**32}, "seed: 4294967296, expected a whole number from 0 to 4,294,967,295"),
        ({"seed": -1}, "seed: -1, expected"),
        ({"seed": 10**5000}, "seed: an integer of 16610 bits, expected"),
    ],
)
def test_a_count_or_a_seed_that_cannot_be_is_refused(model, fields, message):
    with pytest.raises(ConfigError, match=message) as caught:
        generate(*model, PROMPTS, **{"max_new": 4} | fields)
    assert "\n" not in str(caught.value)


def test_numbers_that_overflow_end_generation(model):
    """Sound weights, but too large for what is computed in."""
    spec, params = model
    large = jax.tree.map(lambda leaf: np.asarray(leaf * 1e37, np.float32), params)
    with pytest.raises(JaxgptError, match="computes NaN or infinity in float32"):
        generate(spec, large, PROMPTS, 4)
