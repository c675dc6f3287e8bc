"""What a block is made of changes what it computes in the way that its name says, and gradients reach all of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled

from jaxgpt.models import Decoder
from jaxgpt.objectives import LanguageModel
from jaxgpt.spec import ConfigError, parse

SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32, "position": "rotary"}
TOKENS = np.random.default_rng(0).integers(0, 32, (2, 8), dtype=np.int32)
GEMMA = {
    "norm_place": "both",
    "norm": {"kind": "rms", "zero_centered": True},
    "pattern": [{"kind": "banded", "window": 3}, "causal"],
    "soft_cap": 5.0,
    "logit_cap": 3.0,
    "embed_scale": 4.0,
    "score_scale": 0.7,
    "bias": False,
}
VARIANTS = {
    "parallel": {"residual": "parallel", "position": {"kind": "rotary", "width": 4, "pairing": "half"}},
    "one norm": {"residual": "parallel_one_norm", "qkv_bias": False, "tied": False, "head_bias": True},
    "both sides": GEMMA,
    "embeddings normalised": {"embed_norm": "layer", "position": "alibi", "o_bias": False},
}


def decoder(**fields):
    return parse(Decoder, SIZE | fields)


@partial(jax.jit, static_argnums=0)
def forward(spec, params):
    return spec.build().apply({"params": params}, TOKENS)


def logits(spec, params):
    return np.asarray(forward(spec, params))


def changed(params, scale, *ends):
    """The tree with the leaves whose paths end so multiplied."""

    def one(path, leaf):
        name = "/".join(part.key for part in path)
        return leaf * np.float32(scale) if name.endswith(ends) else leaf

    return jax.tree_util.tree_map_with_path(one, params)


@pytest.mark.often("both sides", "parallel")
@pytest.mark.parametrize("name", VARIANTS)
def test_scan_is_unroll_and_every_parameter_learns(name, weights):
    spec = decoder(**VARIANTS[name])
    params = weights(spec)

    def loss_and_gradient(loop):
        batch = {"tokens": TOKENS[:, :-1], "targets": TOKENS[:, 1:]}
        loss = lambda p: LanguageModel().loss(spec.build(loop=loop), p, batch, None)[0]  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))(params)

    scanned, unrolled = loss_and_gradient("scan"), loss_and_gradient("unroll")
    assert_close(scanned, unrolled, scale=cancelled(unrolled[1]))
    for path, leaf in jax.tree_util.tree_flatten_with_path(unrolled[1])[0]:
        shifts_nothing = [part.key for part in path[-2:]] == ["k", "bias"] and name != "parallel"
        assert np.isfinite(leaf).all() and (shifts_nothing or np.abs(leaf).max() > 1e-6), path


def test_parallel_sublayers_do_not_see_each_other(weights):
    """Where one of the two gives nothing, parallel and sequential are the same; where both do, they are not."""
    parallel, sequential = decoder(num_layers=1, residual="parallel"), decoder(num_layers=1)
    params = weights(parallel)
    for silent in (("feed_forward/down/weight", "feed_forward/down/bias"), ("attention/o/weight", "attention/o/bias")):
        one = changed(params, 0, *silent)
        assert_close(logits(parallel, one), logits(sequential, one))
    assert np.abs(logits(parallel, params) - logits(sequential, params)).max() > 0.05


def test_one_norm_is_two_that_are_equal(weights):
    one, two = decoder(residual="parallel_one_norm"), decoder(residual="parallel")
    params = weights(one)
    layers = params["blocks"]["layers"]
    assert "norm_feed_forward" not in layers
    twice = {**params, "blocks": {"layers": {**layers, "norm_feed_forward": layers["norm_attention"]}}}
    assert_close(logits(one, params), logits(two, twice))


def test_norms_behind_sublayers_make_their_scale_vanish(weights):
    spec = decoder(norm_place="both", norm={"kind": "rms", "eps": 1e-12}, bias=False)
    params = weights(spec)
    louder = changed(params, 10, "attention/o/weight", "feed_forward/down/weight")
    assert_close(logits(spec, louder), logits(spec, params))
    pre = {**params, "blocks": {"layers": {k: v for k, v in params["blocks"]["layers"].items() if "after" not in k}}}
    assert np.abs(logits(decoder(norm={"kind": "rms"}, bias=False), pre) - logits(spec, params)).max() > 0.05


def test_a_score_scale_is_a_factor_on_queries(weights):
    plain = decoder()
    params = weights(plain)
    assert_close(logits(decoder(score_scale=8**-0.5), params), logits(plain, params))
    louder = changed(params, 3, "attention/q/weight", "attention/q/bias")
    assert_close(logits(decoder(score_scale=3 * 8**-0.5), params), logits(plain, louder))
    assert np.abs(logits(decoder(score_scale=1.0), params) - logits(plain, params)).max() > 1e-3


@pytest.mark.parametrize(
    ("fields", "biased"),
    [
        ({}, "qkvo"),
        ({"bias": False}, ""),
        ({"qkv_bias": False}, "o"),
        ({"bias": False, "qkv_bias": True}, "qkv"),
        ({"bias": False, "o_bias": True}, "o"),
    ],
    ids=str,
)
def test_attention_has_biases_where_said(fields, biased):
    layers = decoder(**fields).shapes()["blocks"]["layers"]
    assert [name for name in "qkvo" if "bias" in layers["attention"][name]] == list(biased)
    assert ("bias" in layers["feed_forward"]["up"]) == fields.get("bias", True)


def test_the_head_is_capped_and_biased_in_the_loss_too(weights):
    plain, spec = decoder(tied=False), decoder(tied=False, head_bias=True, logit_cap=2.0)
    params = weights(spec)
    raw = logits(plain, {**params, "lm_head": {"weight": params["lm_head"]["weight"]}}) + params["lm_head"]["bias"]
    want = 2 * np.tanh(raw / 2)
    assert_close(logits(spec, params), want)
    assert np.abs(raw).max() > 2 > np.abs(want).max()
    batch = {"tokens": TOKENS[:, :-1], "targets": TOKENS[:, 1:]}
    nll = -np.asarray(jax.nn.log_softmax(jnp.asarray(want[:, :-1])))
    for chunk in (None, 3):
        loss = jax.jit(lambda p, c=chunk: LanguageModel(chunk=c).loss(spec.build(), p, batch, None)[0])(params)
        assert_close(loss, np.take_along_axis(nll, TOKENS[:, 1:, None], -1).mean(), 1e-5)


def test_embeddings_are_scaled_on_the_way_in_alone(weights):
    plain, scaled = decoder(), decoder(embed_scale=3.0)
    params = weights(plain)
    hidden = jax.jit(lambda s, p: s.build().apply({"params": p}, TOKENS, method="hidden"), static_argnums=0)
    louder = changed(params, 3, "embed/token")
    assert_close(hidden(scaled, params), hidden(plain, louder))
    assert_close(3 * logits(scaled, params), logits(plain, louder))


def test_normalised_embeddings_have_no_scale(weights):
    spec = decoder(embed_norm={"kind": "layer", "eps": 1e-12}, tied=False)
    params = weights(spec)
    assert_close(logits(spec, changed(params, 7, "embed/token")), logits(spec, params))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"residual": "parallel", "norm_place": "post"}, "residual parallel is pre-norm; set norm_place pre"),
        ({"residual": "parallel_one_norm", "norm_place": "both"}, "residual parallel_one_norm is pre-norm"),
        ({"position": {"kind": "rotary", "width": 3}}, "position.width 3 must be even and at most d_head 8"),
        ({"position": {"kind": "rotary", "width": 10}}, "position.width 10 must be even and at most d_head 8"),
        ({"head_bias": True}, "head_bias needs an output of its own; set tied false"),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_refused_in_one_line(fields, message):
    with pytest.raises(ConfigError) as caught:
        decoder(**fields)
    assert message in str(caught.value) and len(caught.value.problems) == 1
