"""Low-rank adaptation: a no-op at its start, the papers' formulas, and rules that name something."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from flax.traverse_util import flatten_dict, unflatten_dict

import jaxgpt.peft  # noqa: F401  declares its members
from jaxgpt.models import Model
from jaxgpt.nn.linear import Linears
from jaxgpt.peft import LoRA
from jaxgpt.peft.lengths import column_norms, summed_norms
from jaxgpt.spec import ConfigError, parse

GPT2 = {"kind": "gpt2", "num_layers": 12, "d_model": 768, "num_heads": 12, "context": 1024, "vocab_size": 50257}
SMALL = {"kind": "gpt2", "num_layers": 2, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32}
MOE = {**SMALL, "feed_forward": {"kind": "moe", "num_experts": 2}}


def model(base=SMALL, **adapter):
    return parse(Model, {**base, "adapter": {"kind": "lora", **adapter}})


def flat(tree):
    return flatten_dict(tree, sep="/")


def added(spec):
    return {path: leaf for path, leaf in flat(spec.shapes()).items() if "/adapter/" in path}


def test_rank_8_on_queries_and_values_of_gpt2_is_294912_parameters():
    assert sum(leaf.size for leaf in added(model(GPT2)).values()) == 294_912


def test_one_a_for_queries_keys_and_values_is_as_wide_as_peft_s_c_attn():
    shapes = added(model(targets=["attention/[qkv]$"], fused_qkv=True, rank=2))
    names = {path.split("attention/")[1]: leaf.shape[1:] for path, leaf in shapes.items()}
    assert names == {"q/adapter/a": (16, 2), **{f"{name}/adapter/b": (2, 16) for name in "qkv"}}


def one(adapter, shape=(6, 5), bias=True, seed=0):
    """A projection with the adapter on it: its module, random parameters, inputs, and a function of both."""
    rng = np.random.default_rng(seed)
    linear = Linears("float32", 0.02, 0.02, bias, adapter, "o")(shape[1], "o")
    x = rng.standard_normal((3, shape[0])).astype(np.float32)
    shapes = flat(jax.eval_shape(linear.init, jax.random.key(0), x)["params"])
    p = {path: rng.standard_normal(leaf.shape).astype(np.float32) for path, leaf in shapes.items()}
    return linear, p, x, lambda p, x: linear.apply({"params": unflatten_dict(p, sep="/")}, x)


@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({"rank": 2, "alpha": 3.0}, 1.5),
        ({"rank": 4, "alpha": 3.0, "rslora": True}, 1.5),
        ({"rank": 4, "rank_pattern": {"x": 3, "o$": 2}, "alpha_pattern": {"^o": 4.0}}, 2.0),
        ({"rank": 2, "alpha": 3.0, "room": 4}, 1.5),
        ({"rank": 2, "alpha": 3.0, "bias": True}, 1.5),
    ],
    ids=["plain", "rslora", "patterns", "room", "bias"],
)
def test_it_adds_a_product_of_that_rank(fields, scale):
    _, p, x, apply = one(LoRA(targets=("o",), **fields))
    rows = slice(0, 2 if "room" in fields else None)
    a, b = p["adapter/a"][:, rows], p["adapter/b"][rows]
    extra = p["adapter/bias"] if fields.get("bias") else 0
    assert_close(apply(p, x), x @ p["weight"] + p["bias"] + scale * (x @ a @ b + extra), 1e-5)


def test_dora_gives_columns_a_length_of_their_own():
    _, p, x, apply = one(LoRA(targets=("o",), rank=2, alpha=3.0, dora=True))
    direction = p["weight"] + 1.5 * p["adapter/a"] @ p["adapter/b"]
    lengths = np.linalg.norm(direction, axis=0)
    assert_close(apply(p, x), x @ (direction * p["adapter/magnitude"] / lengths) + p["bias"], 1e-5)

    def constant(p):
        whole = p["weight"] + 1.5 * p["adapter/a"] @ p["adapter/b"]
        return jnp.sum(jnp.sin(x @ (whole * (p["adapter/magnitude"] / lengths)) + p["bias"]))

    jax.tree.map(
        lambda a, b: assert_close(a, b, 1e-4),
        jax.grad(lambda p: jnp.sum(jnp.sin(apply(p, x))))(p),
        jax.grad(constant)(p),
    )


@pytest.mark.parametrize("dora", [False, True])
def test_a_share_of_what_a_sees_is_dropped_in_training_alone(dora):
    linear, p, _, apply = one(LoRA(targets=("o",), rank=2, alpha=2.0, dropout=0.5, dora=dora))
    x = np.ones((2000, 6), np.float32)
    tree = {"params": unflatten_dict(p, sep="/")}
    drawn = linear.apply(tree, x, rngs={"dropout": jax.random.key(0)})
    assert_close(jnp.mean(drawn, 0), apply(p, x[:1])[0], 0.1)
    assert len(np.unique(np.asarray(drawn), axis=0)) == 2**6
    np.testing.assert_array_equal(apply(p, x)[0], apply(p, x)[1])
    if not dora:  # the base sees all
        p["adapter/b"] *= 0
        assert_close(linear.apply(tree, x, rngs={"dropout": jax.random.key(0)}), apply(p, x), 1e-6)


def test_lengths_begin_as_those_of_the_weights_that_it_is_put_on(weights):
    spec = model(targets=["attention/[qv]$"], dora=True)
    params = flat(weights(spec))
    begun = spec.adapter.begin(params, None, jax.random.key(0))
    assert begun.keys() == {path for path in params if path.endswith("magnitude")}
    for path, leaf in begun.items():
        assert_close(leaf, np.linalg.norm(params[path.replace("adapter/magnitude", "weight")], axis=1), 1e-6)


@pytest.mark.often("768-768", "1000-7")
@pytest.mark.parametrize(("rows", "columns"), [(768, 768), (768, 3072), (3072, 768), (1000, 7)])
def test_lengths_are_the_same_bits_alone_stacked_and_with_nothing_added(rows, columns):
    """So that the ratio of both is exactly 1 at the start."""
    w = jax.random.normal(jax.random.key(0), (2, rows, columns))
    a, b = jax.random.normal(jax.random.key(1), (rows, 8)), jnp.zeros((8, columns))
    _, inside = jax.jit(lambda w: jax.lax.scan(lambda c, w: (c, summed_norms(w, a, b, 2.0)), 0, w))(w)
    np.testing.assert_array_equal(column_norms(w), inside)
    np.testing.assert_array_equal(column_norms(w[1]), inside[1])
    b = jax.random.normal(jax.random.key(2), b.shape)
    assert_close(summed_norms(w[1], a, b, 2.0), np.linalg.norm(w[1] + 2.0 * (a @ b), axis=0), 1e-5)


@pytest.mark.parametrize(
    ("base", "adapter", "message"),
    [
        (
            SMALL,
            {"targets": ["[qv]$", "nowhere"]},
            r"targets: no projection is named as 'nowhere' says; there are "
            r"blocks/layers/attention/k, .*/o, .*/q, .*/v, blocks/layers/feed_forward/down, .*/up",
        ),
        (
            SMALL,
            {"rank_pattern": {"/o$": 2}},
            r"rank_pattern: no adapted projection is named as '/o\$' says; there are "
            r"blocks/layers/attention/q, blocks/layers/attention/v",
        ),
        (SMALL, {"alpha_pattern": {"/o$": 2}}, r"alpha_pattern: no adapted projection is named as "),
        (SMALL, {"targets": ["[qk]$"], "fused_qkv": True}, r"fused_qkv: targets leave out blocks/layers/attention/v"),
        (SMALL, {"targets": ["embed"], "dora": True}, r"dora: is for projections; leave embed/token out of targets"),
        (MOE, {"targets": ["experts"], "dropout": 0.1}, r"dropout: nothing is dropped in front of .*experts/down"),
        ({**SMALL, "tied": False}, {"targets": ["lm_head"], "dropout": 0.1}, r"dropout: nothing is .* of lm_head; set"),
    ],
    ids=["target", "rank", "alpha", "a part of qkv", "a table", "experts", "lm_head"],
)
def test_what_names_nothing_is_refused_in_one_line(base, adapter, message):
    with pytest.raises(ConfigError, match=rf"^model\.adapter\.{message}"):
        model(base, **adapter).shapes()


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"rank": 0}, r"adapter\.rank: .*greater than 0"),
        ({"rank": 8, "room": 4}, r"room 4 is below rank 8; raise it"),
        ({"rank_pattern": {"q": 0}}, r"adapter\.rank_pattern.*greater than 0"),
        ({"targets": []}, r"adapter\.targets"),
        ({"targets": ["("]}, r"adapter\.targets\.0: .*'\(' is no regular expression"),
    ],
)
def test_bad_fields_are_told_at_once(adapter, message):
    with pytest.raises(ConfigError, match=message):
        model(**adapter)


def test_a_row_is_added_to_a_token_s(weights):
    spec = model(targets=["embed/token"], rank=2, alpha=3.0)
    params, tokens = weights(spec), jnp.arange(8)[None]
    a, b = (params["embed"]["adapter"][name] for name in "ab")
    bare = {
        **params,
        "embed": {"token": params["embed"]["token"] + 1.5 * a @ b, "position": params["embed"]["position"]},
    }
    states = [
        m.build().apply({"params": p}, tokens, method="hidden")
        for m, p in ((spec, params), (parse(Model, SMALL), bare))
    ]
    assert_close(*states, 1e-5)


def test_flops_are_4_for_what_gradients_pass_and_6_for_what_is_trained():
    """Nothing is saved but the gradients of weights."""
    spec, bare = model(GPT2), parse(Model, GPT2)
    own = sum(leaf.size for leaf in added(spec).values())
    passed = bare.count() - 1024 * 768  # of the tables, the tokens' scores
    want = 4 * passed + 6 * own + bare.attention_flops(512, True)
    assert spec.flops_per_token(512, trained=lambda path: "/adapter/" in path) == want
    assert spec.flops_per_token(512) == bare.flops_per_token(512) + 6 * own
