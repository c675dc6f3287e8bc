"""Every adapter trains what is its own and nothing else, starts as it says, and is computed alike in every way."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled
from flax.traverse_util import flatten_dict, unflatten_dict
from rarely import mostly

from jaxgpt.decode import generate
from jaxgpt.models import Decoder
from jaxgpt.nn.pipeline import Pipelined
from jaxgpt.ops.attention import Reference
from jaxgpt.runs.trainable import split_params
from jaxgpt.train.program import hyper, program

SEAM = "adapter"
EVERYWHERE = ["attention/", "feed_forward/"]
EXAMPLES = {
    "lora": [
        {},
        {"targets": EVERYWHERE, "dora": True, "fused_qkv": True, "bias": True, "rank": 2},
        # `alpha` is low: at 16 a last bit of the weights moves gradients by 3e-5 of their size.
        {"targets": [*EVERYWHERE, "embed/token"], "rank": 2, "alpha": 2.0, "room": 4, "rslora": True},
    ],
    "prefix": [{"tokens": 3}, {"tokens": 3, "mlp": 6}],
    "prompt": [{"tokens": 3}],
    "adapter": [{"width": 3}],
}
TOKENS = np.random.default_rng(0).integers(0, 32, (8, 8), dtype=np.int32)
BATCH = {"tokens": TOKENS, "targets": np.roll(TOKENS, 1), "weights": np.ones((8, 8), np.float32)}
SIZES = {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 16, "vocab_size": 32}


def flat(tree):
    return flatten_dict(tree, sep="/")


def is_own(path):
    return "adapter" in path.split("/")


@lru_cache
def model(member, **fields):
    return Decoder(**SIZES, **fields, adapter=member)


@lru_cache
def forward(spec):
    return jax.jit(lambda params, tokens: spec.build().apply({"params": params}, tokens))


@lru_cache
def started(spec):
    return jax.jit(spec.init)(jax.random.key(1))


@pytest.mark.often("dora", "ia3", "adapter width", "mlp=6")
def test_the_start_is_no_op_where_no_token_is_virtual(member):
    base, params = started(model(None)), started(model(member))
    for path, leaf in flat(base).items():
        np.testing.assert_array_equal(flat(params)[path], leaf, err_msg=path)
    assert all(is_own(path) for path in flat(params).keys() - flat(base).keys())
    if not member.virtual_tokens:
        logits = forward(model(member))(params, TOKENS)
        np.testing.assert_array_equal(logits, forward(model(None))(base, TOKENS))


@pytest.fixture(scope="module")
def adapted(tiny):
    """`adapted(member, **overrides)`: a run that trains such an adapter on weights of another name."""

    def run(member, **overrides):
        model = {"kind": "decoder", **SIZES, "adapter": member.model_dump(mode="json")}
        decay = {"kind": "adamw", "lr": 0.05, "eps": 1e-4, "weight_decay": 0.5}
        return tiny(**({"model": model, "start": "base", "optim": decay, "exec.layers": "scan"} | overrides))

    return run


@pytest.mark.often("dora", "ia3", "mlp=6", "prompt")
def test_only_its_own_is_trained_and_saved(member, adapted, weights):
    """All of it, within three steps: the first moves nothing where the other factor of a product is 0."""
    run = adapted(member)
    compiled = program(run, jax.devices()[:1])
    values, key = hyper(run), jax.random.key(0)
    state = compiled.init(key, values)._replace(frozen=split_params(weights(run.model), run.trained)[1])
    before = {path: np.array(leaf) for path, leaf in flat(state.model_params).items()}
    for _ in range(3):
        state, _ = compiled.step(state, BATCH, key, values)
    for path, leaf in flat(state.model_params).items():
        assert np.array_equal(leaf, before[path]) != is_own(path), path
    assert flat(state.saved.params).keys() == {path for path in before if is_own(path)} and state.saved.frozen is None
    shapes = {leaf.shape for leaf in jax.tree.leaves(state.params)}
    assert {leaf.shape for leaf in jax.tree.leaves(state.opt_state)} <= shapes | {()}


@lru_cache
def gradients(member, weights, loop="unroll", remat="none"):
    """Of the adapter alone, and the loss, at random weights and a random adapter."""
    spec = model(member)
    module, params = spec.build(Reference(), loop=loop, remat=remat), flat(weights(spec))

    def loss(own):
        logits = module.apply({"params": unflatten_dict(params | own, sep="/")}, TOKENS)
        return jnp.mean(jnp.sin(logits))

    value, grads = jax.jit(jax.value_and_grad(loss))({path: leaf for path, leaf in params.items() if is_own(path)})
    return value, jax.device_get(grads)


@pytest.mark.often("dora", "ia3", "adapter width", "mlp=6", "prompt")
def test_gradients_reach_all_that_is_its_own(member, weights):
    for path, grad in gradients(member, weights)[1].items():
        assert np.any(grad), path


LOOPS = {
    "scan": ("scan", "none"),
    "pipelined": (Pipelined(stages=2, microbatches=2), "none"),
    "scan, blocks recomputed": ("scan", "block"),
    "blocks recomputed": ("unroll", "block"),
    "products saved": ("unroll", "dots"),
}


@pytest.mark.often("dora", "mlp=6-pipelined", "prompt tokens=3-scan", "adapter width=3-scan")
@pytest.mark.parametrize("how", mostly(LOOPS, "scan", "pipelined"))
def test_the_loop_and_what_is_recomputed_change_nothing(member, weights, how):
    want = gradients(member, weights)
    assert_close(gradients(member, weights, *LOOPS[how]), want, 1e-5, scale=cancelled(want[1]))


@pytest.mark.often("dora", "embed/token", "prefix tokens=3]", "prompt")
def test_cached_generation_is_the_uncached_one(member, weights):
    spec, prompts = model(member), ([3, 1, 4, 1, 5], [7])
    params = weights(spec)
    new = generate(spec, params, prompts, 4)
    tokens = np.zeros((8, 8), np.int32)
    for row, prompt, ids in zip(tokens, prompts, new, strict=False):
        row[: len(prompt) + 3] = (prompt + ids)[:-1]
    logits = np.asarray(forward(spec)(params, tokens))
    for row, prompt, ids in zip(logits, prompts, new, strict=False):
        choice = row[len(prompt) - 1 : len(prompt) + 3]
        assert_close(choice[np.arange(4), ids], choice.max(-1), 1e-5)


PLAIN = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "clip": None}
MESHES = {
    "zero x tensor": {"exec.mesh": {"data": 2, "fsdp": 2, "tensor": 2}},
    "pipeline x tensor": {"exec.mesh": {"data": 2, "pipeline": 2, "tensor": 2}},
}


@pytest.mark.often("embed/token", "adapter width", "mlp=6")
@pytest.mark.parametrize("how", mostly(MESHES, "zero x tensor"))
def test_eight_devices_are_one(member, adapted, weights, how):
    """One step of plain gradient descent from random weights: the difference of the parameters is the gradient."""

    def stepped(overrides, devices):
        run = adapted(member, optim=PLAIN, **overrides)
        compiled = program(run, devices)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), compiled.state)
        drawn = flat(weights(run.model))
        parts = {
            name: unflatten_dict({path: drawn[path] for path in flat(getattr(compiled.state, name))}, sep="/")
            for name in ("params", "frozen")
        }
        state = jax.tree.map(
            lambda leaf, like: jax.device_put(leaf, like.sharding), zeros._replace(**parts), compiled.state
        )
        placed = jax.device_put(BATCH, compiled.batch_shardings(BATCH))
        after, metrics = compiled.step(state, placed, jax.random.key(3), hyper(run))
        return float(metrics["loss"]), jax.device_get(after.params)

    assert_close(stepped(MESHES[how], jax.devices()), stepped({}, jax.devices()[:1]), 1e-5)
