"""Virtual tokens in front of a row: prompts go through the model, prefixes are keys and values that all tokens see."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from rarely import mostly

import jaxgpt.peft  # noqa: F401  declares its members
from jaxgpt.decode import generate, rollout
from jaxgpt.models import Decoder, Encoder, Model
from jaxgpt.nn.cache import KV, LayerCache
from jaxgpt.nn.layout import Layout
from jaxgpt.ops.attention import Auto, Chunked, Reference, Spans
from jaxgpt.peft.prefix import by_layer
from jaxgpt.runs.fits import check_devices
from jaxgpt.spec import ConfigError, parse

N = 5
ADAPTERS = {
    "prompt": {"kind": "prompt", "tokens": N},
    "prefix": {"kind": "prefix", "tokens": N},
    "prefix with an MLP": {"kind": "prefix", "tokens": N, "mlp": 6},
}
MODELS = {
    "learned": {},
    "rotary, grouped heads": {"position": "rotary", "num_heads": 4, "num_kv_heads": 2},
    "alibi": {"position": "alibi"},
    "narrow, normed keys, t5": {
        "position": "t5",
        "qk_norm": "rms",
        "pattern": ["causal", {"kind": "banded", "window": 3}],
    },
    "heads apart": {
        "position": "rotary",
        "pattern": {"kind": "per_head", "of": ["causal", {"kind": "strided", "stride": 3}]},
    },
}
PROMPTS = ([3, 1, 4, 1, 5, 9, 2, 6, 5], [7], [2, 7, 1, 8])


def decoder(adapter, **fields):
    fixed = {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 32, "vocab_size": 32}
    return Decoder.model_validate(fixed | fields | {"adapter": adapter})


@lru_cache
def forward(spec, kernel=Reference(), loop="unroll"):
    return jax.jit(lambda params, tokens: spec.build(kernel, loop=loop).apply({"params": params}, tokens))


@pytest.mark.parametrize(
    ("adapter", "size"),
    [
        ({"kind": "prompt"}, 20 * 768),
        ({"kind": "prefix"}, 20 * 12 * 2 * 768),
        ({"kind": "prefix", "mlp": 512}, 20 * 768 + 769 * 512 + 513 * 12 * 2 * 768),
    ],
)
def test_sizes_on_gpt2_124m(adapter, size):
    gpt2 = parse(Model, {"kind": "gpt2", "num_layers": 12, "d_model": 768, "num_heads": 12, "vocab_size": 50257})
    assert gpt2.evolve(adapter=adapter).count() - gpt2.count() == size


@pytest.mark.often("prompt", "prefix with an MLP-learned")
@pytest.mark.parametrize("model", mostly(MODELS, "learned", "narrow, normed keys, t5"))
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_cached_generation_is_the_uncached_one(adapter, model, weights):
    """Prompts of uneven length, so that rows are padded on the left."""
    spec = decoder(adapter, **MODELS[model])
    params = weights(spec)
    new = generate(spec, params, PROMPTS, 6)
    tokens = np.zeros((3, 16), np.int32)
    for row, prompt, ids in zip(tokens, PROMPTS, new, strict=True):
        row[: len(prompt) + 6] = prompt + ids
    logits = np.asarray(forward(spec)(params, tokens))
    for row, prompt, ids in zip(logits, PROMPTS, new, strict=True):
        choice = row[len(prompt) - 1 : len(prompt) + 5]
        assert_close(choice[np.arange(6), ids], choice.max(-1))


@pytest.mark.often("[prefix]")
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_rollouts_write_what_generation_does(adapter, weights):
    spec = decoder(adapter)
    params, lengths = weights(spec), np.array([len(ids) for ids in PROMPTS], np.int32)
    tokens = np.stack([np.pad(ids, (9 - len(ids), 0)) for ids in PROMPTS]).astype(np.int32)
    roll = jax.jit(lambda *given: rollout(spec.build(), *given, jax.random.key(0), 4).tokens_BN)
    assert roll(params, tokens, lengths).tolist() == generate(spec, params, PROMPTS, 4)
    with pytest.raises(ConfigError, match=r"20 prompt slots and 8 new tokens exceed model\.context 32 less 5"):
        rollout(spec.build(), params, np.ones((1, 20), np.int32), np.array([20]), jax.random.key(0), 8)


@pytest.mark.often("[prompt]")
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_an_endless_model_writes_past_its_context(adapter, weights):
    fields = {"position": "rotary", "pattern": {"kind": "banded", "window": 4}}
    spec, prompt = decoder(adapter, **fields), [1, 2, 3]
    params = weights(spec)
    (new,) = generate(spec, params, [prompt], 40)
    row = np.asarray(forward(decoder(adapter, **fields, context=64))(params, np.array([prompt + new])))[0, 2:-1]
    assert_close(row[np.arange(40), new], row.max(-1))


@pytest.mark.often("prefix-")
@pytest.mark.parametrize("model", mostly(MODELS, "narrow, normed keys, t5"))
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_kernels_and_loops_agree(adapter, model, weights):
    spec = decoder(adapter, **MODELS[model])
    params, tokens = weights(spec), np.arange(12).reshape(2, 6) % 32
    want = forward(spec)(params, tokens)
    for kernel, loop in [(Spans(block=4), "scan"), (Chunked(queries=4, keys=4), "unroll"), (Auto(), "scan")]:
        assert_close(forward(spec, kernel, loop)(params, tokens), want)


@pytest.mark.often("rotary")
@pytest.mark.parametrize("position", ["learned", "rotary", "alibi"])
def test_a_prefix_is_keys_and_values_of_tokens_that_are_past(position, weights):
    """The base, given a cache that already holds them, and tokens at the positions behind."""
    spec = decoder(ADAPTERS["prefix"], position=position, num_heads=4, num_kv_heads=2)
    params, tokens = weights(spec), jnp.arange(14).reshape(2, 7)
    base = spec.evolve(adapter=None)
    filled = []
    own_L = jnp.swapaxes(by_layer(params["blocks"]["adapter"]["prefix"], 2, 2), 0, 1)
    for layer, own in zip(base.cache(2, N + 7), own_L, strict=True):
        filled.append(LayerCache(KV(*(cache.at[:, :, :N].set(x) for cache, x in zip(layer.past, own, strict=True)))))
    layout = Layout(N + jnp.arange(7), cursor=jnp.int32(N), padding=jnp.zeros(2, jnp.int32), capacity=N + 7)
    want, _ = base.build().apply({"params": params}, tokens, layout, tuple(filled), method="extend")
    assert_close(spec.build().apply({"params": params}, tokens, method="hidden"), want)


def test_a_prompt_is_tokens_of_a_longer_row(weights):
    """The base, whose table has the prompt's vectors behind its own."""
    spec = decoder(ADAPTERS["prompt"])
    params, tokens = weights(spec), jnp.arange(14).reshape(2, 7)
    base = spec.evolve(adapter=None, vocab_size=32 + N)
    embed = params["embed"] | {
        "token": jnp.concatenate([params["embed"]["token"], params["embed"]["adapter"]["prompt"]])
    }
    row = jnp.concatenate([jnp.broadcast_to(32 + jnp.arange(N), (2, N)), tokens], 1)
    want = base.build().apply({"params": params | {"embed": embed}}, row, method="states")
    got = spec.build().apply({"params": params}, tokens, method="states")
    assert_close(got, [x[:, N:] for x in want])


@pytest.mark.often("[prefix]")
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_all_tokens_see_all_virtual_ones_of_a_prefix(adapter, weights):
    """In one layer and a window of two; a prompt's are tokens, of which the window leaves out the first."""
    spec = decoder(adapter, num_layers=1, pattern={"kind": "banded", "window": 2})
    params, tokens = weights(spec), jnp.arange(6)[None]

    def last(seen):
        tree = params["blocks" if "prefix" in adapter["kind"] else "embed"]["adapter"] | seen
        whole = {name: dict(part) if isinstance(part, dict) else part for name, part in params.items()}
        whole["blocks" if "prefix" in adapter["kind"] else "embed"] |= {"adapter": tree}
        return spec.build().apply({"params": whole}, tokens, method="hidden")[0, -1].sum()

    leaf = {"prompt": "prompt"}.get(adapter["kind"], "prefix" if adapter.get("mlp") is None else "vectors")
    own = params["blocks" if "prefix" in adapter["kind"] else "embed"]["adapter"][leaf]
    reached = np.any(np.asarray(jax.grad(last)({leaf: own})[leaf]), axis=1)
    np.testing.assert_array_equal(reached, [adapter["kind"] == "prefix"] * N)


@pytest.mark.often("[prompt]")
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_in_an_encoder_padding_is_nobodys_and_the_first_token_is_the_rows_own(adapter, weights):
    spec = Encoder(num_layers=2, d_model=16, num_heads=2, context=16, vocab_size=32, adapter=adapter)
    params, tokens = weights(spec), np.arange(16, dtype=np.int32).reshape(2, 8)
    run = jax.jit(lambda *given: spec.build().apply({"params": params}, given[0], segments=given[1], method="outputs"))
    real = (np.arange(8) < np.array([[8], [3]])).astype(np.int32)
    rows = run(tokens, real)
    assert rows.hidden.shape == (2, 8, 16)
    alone = run(tokens[1:, :3], real[1:, :3])
    assert_close(rows.hidden[1:, :3], alone.hidden)
    assert_close(rows.pooled[1:], alone.pooled)
    pooled = spec.build().apply({"params": params}, rows.hidden, method="pool")
    assert_close(pooled, rows.pooled)


def test_a_prefix_drops_its_mlp_for_use(weights):
    spec = decoder(ADAPTERS["prefix with an MLP"])
    params = weights(spec)
    plain, finished = spec.finished(params)
    assert plain == decoder(ADAPTERS["prefix"])
    assert jax.tree.map(jnp.shape, finished) == jax.tree.map(jnp.shape, plain.shapes())
    tokens = np.arange(6)[None]
    assert_close(forward(plain)(finished, tokens), forward(spec)(params, tokens))


class Codec:
    """Of 20 ids, the even ones with a text."""

    has_text = np.arange(20) % 2 == 0

    def encode(self, text):
        return [int(word) for word in text.split()]


@pytest.mark.parametrize(
    ("init", "rows"),
    [({"text": "4 2"}, [4, 2, 4, 2, 4]), ({"text": "1 2 3 4 5 6 7"}, [1, 2, 3, 4, 5]), ("words", None), ("random", [])],
)
def test_a_prompt_starts_from_words(init, rows, weights):
    spec = decoder({"kind": "prompt", "tokens": N, "init": init})
    table = weights(spec)["embed"]["token"]
    begun = spec.adapter.begin({"embed/token": table}, Codec(), jax.random.key(0))
    if rows is None:
        where = [int(np.flatnonzero((table == row).all(1))[0]) for row in begun["embed/adapter/prompt"]]
        assert len(set(where)) == N and all(id < 20 and id % 2 == 0 for id in where)
    elif rows:
        np.testing.assert_array_equal(begun["embed/adapter/prompt"], table[np.array(rows)])
    else:
        assert begun == {}


@pytest.mark.parametrize("codec", [None, Codec()])
def test_a_prompt_from_a_text_without_tokens_is_refused(codec, weights):
    adapter = decoder({"kind": "prompt", "init": {"text": " "}}, context=64).adapter
    with pytest.raises(ConfigError, match=r"model\.adapter\.init\.text: ' ': .*; set init words or random"):
        adapter.begin({"embed/token": np.ones((4, 2))}, codec, jax.random.key(0))


def test_flops_count_what_virtual_tokens_cost():
    """Of the forward pass: a prompt's go through the blocks, a prefix's are keys and values alone."""
    base, length, none = decoder(None), 10, lambda path: False
    count = partial(Decoder.flops_per_token, length=length, trained=none)
    attention = 4 * 2 * 2 * 8  # forward; layers, heads, channels of a head
    blocks = sum(size for path, size in base.met().items() if path.startswith("blocks"))
    assert count(decoder(ADAPTERS["prefix with an MLP"])) == count(decoder(ADAPTERS["prefix"]))
    assert count(decoder(ADAPTERS["prefix"])) - count(base) == pytest.approx(attention * N)
    row = length + N
    more = 2 * blocks * N / length + attention * (row * row / length - length)
    assert count(decoder(ADAPTERS["prompt"])) - count(base) == pytest.approx(more)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_what_does_not_fit_is_refused_in_one_line(adapter, little, weights):
    def run(**fields):
        return little(**{"start": "base", "model.adapter": adapter, "model.context": 16, **fields})

    assert run().seq_len == 11
    for fields, message in [
        ({"data.seq_len": 12}, r"data\.seq_len 12 exceeds model\.context 16 less 5 virtual tokens; shorten one"),
        ({"data.documents": "separate"}, r"data\.documents separate: what model\.adapter puts in front"),
        ({"model.adapter.tokens": 16}, r"adapter\.tokens 16 leave no position of context 16 to a text; use fewer"),
    ]:
        with pytest.raises(ConfigError, match=message):
            run(**fields)
    with pytest.raises(
        ConfigError, match=r"^exec\.mesh\.sequence: 2; model\.adapter puts virtual tokens in front of whole"
    ):
        check_devices(run(**{"exec.mesh": {"sequence": 2}, "data.seq_len": 8}), 2)
    spec = decoder(adapter)
    with pytest.raises(ConfigError, match=r"28 tokens exceed model\.context 32 less 5 virtual tokens; shorten"):
        generate(spec, weights(spec), [[1] * 28], 1)
