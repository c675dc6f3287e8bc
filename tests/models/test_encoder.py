"""The encoder: published sizes; every token sees every other, and never padding."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.models import BERT, Encoder, RoBERTa

SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 4, "context": 8, "vocab_size": 32}
rng = np.random.default_rng(0)
TOKENS = rng.integers(0, 32, (3, 8), dtype=np.int32)
LENGTHS = np.array([8, 3, 3])
REAL = (np.arange(8) < LENGTHS[:, None]).astype(np.int32)

# Of the published checkpoints: without heads, with the pooler, with the masked head in place of the pooler.
COUNTS = {
    (BERT, "base_uncased"): (108_891_648, 109_482_240, 109_514_298),
    (BERT, "base_cased"): (107_719_680, 108_310_272, 108_340_804),
    (BERT, "large_uncased"): (334_092_288, 335_141_888, 335_174_458),
    (BERT, "large_cased"): (332_529_664, 333_579_264, 333_610_308),
    (BERT, "minilm_l6"): (22_565_376, 22_713_216, 22_744_506),
    (BERT, "minilm_l12"): (33_212_160, 33_360_000, 33_391_290),
    (RoBERTa, "base"): (124_055_040, 124_645_632, 124_697_433),
    (RoBERTa, "large"): (354_310_144, 355_359_744, 355_412_057),
}
MODELS = {
    "bert": BERT(**SIZE),
    "roberta": RoBERTa(**SIZE),
    "pre-norm": Encoder(**SIZE, norm_place="pre", embed_norm=None, token_types=0, position="rotary"),
}


@pytest.fixture(params=MODELS)
def spec(request):
    return MODELS[request.param]


@partial(jax.jit, static_argnums=0)
def run(spec, params, tokens, given):
    return spec.build().apply({"params": params}, tokens, method="outputs", **given)


def outputs(spec, params, tokens, **given):
    return jax.tree.map(np.asarray, run(spec, params, tokens, given))


@pytest.mark.often("base")
@pytest.mark.parametrize(("family", "size"), COUNTS)
def test_published_counts(family, size):
    bare, pooled, masked = COUNTS[family, size]
    model = family(**family.sizes[size], pooler=False, masked_head=False)
    assert model.count() == bare
    assert model.evolve(pooler=True).count() == pooled
    assert model.evolve(masked_head=True).count() == masked
    assert model.evolve(pooler=True, masked_head=True).count() == pooled + masked - bare


def test_every_published_size_is_counted():
    assert {(family, size) for family in (BERT, RoBERTa) for size in family.sizes} == set(COUNTS)


def test_flops_count_what_tokens_are_multiplied_with():
    """Six for each weight of a layer and of the head, the token table where the head scores against it."""
    model = BERT(**SIZE, pooler=False, masked_head=False)
    layers = 2 * (4 * (16 * 16 + 16) + 2 * 4 * 16 * 16 + 4 * 16 + 16 + 4 * 16) + 2 * 16
    attention = 12 * 2 * 16 * 8
    assert model.flops_per_token(8) == 6 * layers + attention
    assert model.flops_per_token(8, dense=False) == 6 * layers + attention, "every key is seen"
    assert model.evolve(pooler=True).flops_per_token(8) == model.flops_per_token(8)
    head = 32 * 16 + 32 + 16 * 16 + 3 * 16
    scored = model.evolve(masked_head=True, pooler=True, next_sentence=True)
    assert scored.flops_per_token(8) == 6 * (layers + head) + attention
    assert scored.flops_per_token(8, scored=0.25) == 6 * (layers + head / 4) + attention


def test_every_token_sees_every_other(spec, weights):
    def first(x, params, t):
        params = {**params, "embed": {**params["embed"], "token": x}}
        return jnp.sin(spec.build().apply({"params": params}, t, method="hidden")[0, 2]).sum()

    params = weights(spec)
    tokens = np.arange(8, dtype=np.int32)[None]
    grad = np.asarray(jax.jit(jax.grad(first))(params["embed"]["token"], params, tokens))
    assert np.abs(grad[:8]).sum(-1).min() > 1e-6 and not grad[8:].any()


@pytest.mark.often("bert")
def test_real_tokens_never_see_padding(spec, weights):
    params = weights(spec)
    short = [outputs(spec, params, row[None, :n]) for row, n in zip(TOKENS, LENGTHS, strict=True)]
    for filler in (0, 31):
        padded = outputs(spec, params, np.where(REAL, TOKENS, filler).astype(np.int32), segments=REAL)
        for row, (alone, n) in enumerate(zip(short, LENGTHS, strict=True)):
            assert_close(padded.hidden[row, :n], alone.hidden[0], 5e-6)
            assert_close(padded.logits[row, :n], alone.logits[0])
            assert_close(padded.pooled[row], alone.pooled[0], 5e-6)


def test_packed_documents_equal_each_alone(weights):
    spec = MODELS["roberta"]
    params = weights(spec)
    positions = np.array([[0, 1, 2, 0, 1, 2, 3, 4]], np.int32)
    segments = np.array([[1, 1, 1, 2, 2, 2, 2, 2]], np.int32)
    packed = outputs(spec, params, TOKENS[:1], segments=segments, positions=positions)
    for part in (slice(0, 3), slice(3, 8)):
        alone = outputs(spec, params, TOKENS[:1, part])
        assert_close(packed.hidden[:, part], alone.hidden, 5e-6)


def test_token_types_add_their_rows(weights):
    spec = MODELS["bert"]
    params = weights(spec)
    types = (np.arange(8) > 3).astype(np.int32)[None].repeat(3, 0)
    plain = outputs(spec, params, TOKENS).hidden
    assert_close(outputs(spec, params, TOKENS, token_types=0 * types).hidden, plain, 5e-6)
    assert np.abs(outputs(spec, params, TOKENS, token_types=types).hidden - plain).max() > 0.1
    same = {**params, "embed": {**params["embed"], "token_type": params["embed"]["token_type"][[0, 0]]}}
    assert_close(outputs(spec, same, TOKENS, token_types=types).hidden, plain, 5e-6)


def test_positions_start_behind_the_offset(weights):
    spec = MODELS["roberta"]
    params = weights(spec)
    assert params["embed"]["position"].shape == (10, 16)
    other = {**params, "embed": {**params["embed"], "position": params["embed"]["position"].copy()}}
    other["embed"]["position"][:2] = 100.0
    np.testing.assert_array_equal(outputs(spec, other, TOKENS).hidden, outputs(spec, params, TOKENS).hidden)


@pytest.mark.parametrize("loop", ["scan", "unroll"])
def test_bfloat16_and_loops(weights, loop):
    spec = MODELS["bert"]
    params = weights(spec, std=0.1)
    want = outputs(spec, params, TOKENS).logits
    run = jax.jit(lambda p, dtype: spec.build(dtype=dtype, loop=loop).apply({"params": p}, TOKENS), static_argnums=1)
    assert_close(run(params, "float32"), want)
    low = run(params, "bfloat16")
    assert low.dtype == jnp.bfloat16
    assert np.abs(np.asarray(low, np.float32) - want).max() < 0.05 * np.abs(want).max()


def test_heads_are_optional(weights):
    spec = BERT(**SIZE, pooler=False, masked_head=False)
    params = weights(spec)
    assert params.keys() == {"embed", "norm_embed", "blocks"}
    out = outputs(spec, params, TOKENS)
    assert out.pooled is None and out.logits is None
    direct = jax.jit(lambda p: spec.build().apply({"params": p}, TOKENS))(params)
    assert_close(direct, out.hidden, 1e-6)
    for method in ("unembed", "pool"):
        with pytest.raises(ValueError, match=r"model\.\w+ is off"):
            spec.build().apply({"params": params}, out.hidden, method=method)
