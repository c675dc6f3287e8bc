"""A toy encoder-decoder of two trunks: what the second sees of the first. S source tokens, T target tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled
from flax import linen as nn
from flax.traverse_util import flatten_dict

from jaxgpt.models import Decoder, Encoder
from jaxgpt.nn.attention import Attention
from jaxgpt.nn.layout import Layout, Memory
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.pipeline import Pipelined
from jaxgpt.ops.attention import Reference, Ring
from jaxgpt.ops.patterns import Bidirectional
from jaxgpt.ops.positions import NoPosition
from jaxgpt.ops.sharding import constraining
from jaxgpt.parallel import Mesh, Standard, placement_of

SIZE = {"num_layers": 2, "d_model": 8, "num_heads": 2, "vocab_size": 16, "context": 8, "init_std": 0.5}
B, S, T = 2, 5, 6
RNG = np.random.default_rng(0)
SOURCE = RNG.integers(0, 16, (B, S), dtype=np.int32)
TARGET = RNG.integers(0, 16, (B, T), dtype=np.int32)
STATES = RNG.standard_normal((B, S, 8)).astype(np.float32)
LAST_IS_PADDING = np.array([[0, 1, 2, 3, -1], [0, 1, 2, -1, -1]], np.int32)
VARIANTS = {
    "pre-norm, learned positions": {},
    "post-norm, T5's bias": {"norm_place": "post", "position": "t5"},
    "both norms, rotary, one shared key/value head": {
        "norm_place": "both",
        "position": "rotary",
        "num_kv_heads": 1,
        "qk_norm": "rms",
    },
    "parallel": {"residual": "parallel"},
}


class Pair(nn.Module):
    """`encoder` and `decoder`, each with a token table of its own, or with one that they share."""

    fields: tuple = ()
    loop: object = "unroll"
    shared: bool = False

    def setup(self):
        """Names the trunks."""
        spec = Decoder(**SIZE, **dict(self.fields))
        self.encoder = Encoder(**SIZE).trunk(Reference(), jnp.float32, "scan", "none")
        tokens_of = self.encoder.embed if self.shared else None
        self.decoder = spec.trunk(Reference(), jnp.float32, self.loop, "none", tokens_of=tokens_of)

    def __call__(self, source_BS, target_BT):
        return self.decode(self.encode(source_BS), target_BT)

    def encode(self, source_BS):
        return self.encoder(source_BS, Layout.of_rows(source_BS, None, None))

    def decode(self, states_BSD, target_BT, pos=LAST_IS_PADDING, segment=None, segments=None):
        layout = Layout.of_rows(target_BT, None, segments)._replace(memory=Memory(states_BSD, pos, segment))
        return self.decoder(target_BT, layout)

    def step(self, states_BSD, target_BT, layout, cache):
        memory = Memory(states_BSD, LAST_IS_PADDING)
        return self.decoder.extend(target_BT, layout._replace(memory=memory), cache)


@pytest.fixture(scope="module")
def params():
    """Random parameters of each variant; nothing compiles."""

    def draw(name):
        shapes = jax.eval_shape(Pair(tuple(VARIANTS[name].items())).init, jax.random.key(0), SOURCE, TARGET)
        return jax.tree.map(lambda leaf: RNG.normal(0.3, 0.5, leaf.shape).astype(np.float32), shapes)

    return {name: draw(name) for name in VARIANTS}


def attention(kernel):
    """One head pair over a shared key/value head, and weights for it."""
    module = Attention(
        num_heads=2,
        num_kv_heads=1,
        d_head=4,
        linears=Linears("float32", 0.5, 0.5, bias=False),
        qkv_bias=False,
        o_bias=False,
        kernel=kernel,
        position=NoPosition(),
        qk_norm=None,
        score_scale=None,
        soft_cap=None,
        dropout=0.0,
    )
    shapes = {"q": (8, 8), "k": (8, 4), "v": (8, 4), "o": (8, 8)}
    rng = np.random.default_rng(1)
    return module, {name: {"weight": rng.standard_normal(shape).astype(np.float32)} for name, shape in shapes.items()}


def test_cross_attention_is_its_formula():
    module, params = attention(Reference())
    weights = {name: leaf["weight"] for name, leaf in params.items()}
    x = RNG.standard_normal((B, T, 8)).astype(np.float32)
    layout = Layout(pos=np.arange(T, dtype=np.int32))
    given = (x, layout, Bidirectional(), None, False, Memory(STATES, LAST_IS_PADDING))
    got, cache = module.apply({"params": params}, *given)

    def projected(name, x, heads):
        return (x @ weights[name]).reshape(*x.shape[:2], heads, 4)

    q, k, v = projected("q", x, 2), projected("k", STATES, 1)[:, :, 0], projected("v", STATES, 1)[:, :, 0]
    scores = np.where((LAST_IS_PADDING >= 0)[:, None, None], np.einsum("bthk,bsk->bhts", q, k) / 2, -np.inf)
    share = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    want = np.einsum("bhts,bsk->bthk", share, v).reshape(B, T, 8) @ weights["o"]
    assert_close(got, want)
    assert_close(cache.k[:, 0], k)


@pytest.mark.parametrize("length", [8, 12, 6], ids=lambda length: f"memory {length}")
def test_devices_that_share_a_rows_tokens_see_all_of_the_memory(length):
    """A memory as long as the row goes around the ring; of another length, which may not divide, it is whole."""
    rows, layout = RNG.standard_normal((B, 8, 8)).astype(np.float32), Layout(np.arange(8, dtype=np.int32))
    states = RNG.standard_normal((B, length, 8)).astype(np.float32)
    pos = np.stack([np.arange(length), np.where(np.arange(length) < 5, np.arange(length), -1)]).astype(np.int32)

    def both(kernel, placement):
        module, params = attention(kernel)

        def loss(params, rows, states):
            out, _ = module.apply(params, rows, layout, Bidirectional(), None, False, Memory(states, pos))
            return jnp.sin(out).sum()

        with constraining(placement):
            return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))({"params": params}, rows, states)

    placement = placement_of(Standard(), Mesh(data=2, sequence=4).build())
    assert_close(both(Ring(), placement), both(Reference(), None))


@pytest.mark.often("both norms")
@pytest.mark.parametrize("name", VARIANTS)
def test_a_cached_memory_is_the_memory(name, params):
    """Four tokens read in one call, then one by one; the states are given once, to the first call."""
    module, given = Pair(tuple(VARIANTS[name].items())), params[name]
    spec = Decoder(**SIZE, **VARIANTS[name])
    want = jax.jit(lambda p: module.apply(p, STATES, TARGET, method="decode"))(given)

    @jax.jit
    def step(params, states, tokens, first, cache):
        pos = first + jnp.zeros((B, 1), jnp.int32) + jnp.arange(tokens.shape[1])
        layout = Layout(pos, cursor=first, padding=jnp.zeros(B, jnp.int32), capacity=T)
        return module.apply(params, states, tokens, layout, cache, method="step")

    cache, got = spec.cache(B, T), []
    for first, count in ((0, 4), (4, 1), (5, 1)):
        states = STATES if first == 0 else None
        hidden, cache = step(given, states, TARGET[:, first : first + count], jnp.int32(first), cache)
        got.append(hidden)
    assert_close(np.concatenate(got, 1), want)


def test_gradients_reach_what_is_seen_of_the_memory_and_no_more(params):
    given = params["pre-norm, learned positions"]

    def at(states, token, *segments):
        return jnp.sin(Pair().apply(given, states, TARGET, *segments, method="decode"))[:, token].sum()

    grads = jax.jit(jax.grad(at), static_argnums=1)(STATES, 0)
    np.testing.assert_array_equal(np.abs(grads).sum(-1) > 0, LAST_IS_PADDING >= 0)
    ours, theirs = np.array([[1, 1, 1, 2, 2, 2]] * B), np.array([[1, 1, 2, 2, 2]] * B)
    grads = jax.jit(jax.grad(at), static_argnums=1)(STATES, 4, np.arange(S), theirs, ours)
    np.testing.assert_array_equal(np.abs(grads).sum(-1) > 0, theirs == 2)


def test_every_parameter_of_both_trunks_learns(params):
    given = params["parallel"]["params"]
    module = Pair(tuple(VARIANTS["parallel"].items()))
    loss = lambda p: jnp.sin(module.apply({"params": p}, SOURCE, TARGET)).sum()  # noqa: E731
    for path, grad in flatten_dict(jax.jit(jax.grad(loss))(given), sep="/").items():
        assert np.any(grad) or path.endswith("token_type"), path
    assert {path.split("/")[0] for path in flatten_dict(given, sep="/")} == {"encoder", "decoder"}
    assert "norm_cross_attention" in given["decoder"]["blocks"]["layers"]
    assert "cross_attention" not in given["encoder"]["blocks"]["layers"]


@pytest.mark.slow
def test_the_loop_over_layers_does_not_matter(params):
    given = params["pre-norm, learned positions"]

    def both(module):
        return jax.jit(jax.value_and_grad(lambda p: jnp.sin(module.apply(p, SOURCE, TARGET)).sum()))(given)

    want, wanted = both(Pair())
    for loop in ("scan", Pipelined(stages=2, microbatches=2)):
        got, grads = both(Pair(loop=loop))
        assert_close(got, want)
        assert_close(grads, wanted, 1e-4, scale=cancelled(wanted))


@pytest.mark.slow
def test_two_trunks_share_one_token_table(params):
    """The gradient of the one is the sum of those of two that are equal."""
    apart = jax.tree.map(np.copy, params["pre-norm, learned positions"]["params"])
    shapes = jax.eval_shape(Pair(shared=True).init, jax.random.key(0), SOURCE, TARGET)["params"]
    del apart["decoder"]["embed"]["token"]
    assert jax.tree.structure(apart) == jax.tree.structure(shapes)
    table = apart["encoder"]["embed"]["token"]

    def loss(shared, encoder_table, decoder_table):
        given = jax.tree.map(jnp.asarray, apart)
        given["encoder"]["embed"]["token"] = encoder_table
        if not shared:
            given["decoder"]["embed"]["token"] = decoder_table
        return jnp.sin(Pair(shared=shared).apply({"params": given}, SOURCE, TARGET)).sum()

    one = jax.jit(jax.grad(loss, 1), static_argnums=0)(True, table, table)
    two = jax.jit(jax.grad(loss, (1, 2)), static_argnums=0)(False, table, table)
    assert_close(one, two[0] + two[1])
    assert np.any(two[0]) and np.any(two[1])
