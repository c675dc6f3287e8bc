"""A step on any mesh equals the step on one device, and each device holds its share.

One plain gradient step (SGD of rate 1, nothing clipped), so that the difference of the parameters is the gradient.
"""

from itertools import combinations

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.train.program import hyper, program

KEY = jax.random.key(3)
PLAIN = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "clip": None}
SHAPE = {"model.num_layers": 4, "model.num_heads": 4, "model.context": 16, "optim": PLAIN, "exec.layers": "scan"}
MODELS = {
    "gpt": {},
    "moe": {"model.feed_forward": {"kind": "moe", "num_experts": 8, "top_k": 2}},
}
STRATEGIES = {
    "data": ("data", None),
    "zero 1": ("fsdp", {"kind": "zero", "stage": 1}),
    "zero 2": ("fsdp", {"kind": "zero", "stage": 2}),
    "zero 3": ("fsdp", {"kind": "zero", "stage": 3}),
    "tensor": ("tensor", {"kind": "megatron"}),
    "tensor, split norms": ("tensor", {"kind": "megatron", "sequence_norms": True}),
    "sequence": ("sequence", None),
    "pipeline": ("pipeline", {"kind": "stages"}),
    "expert": ("expert", {"kind": "experts"}),
}


def fields(names):
    """Overrides that spread a run over 8 devices by one strategy, over 2 x 4 by two, or over 2 x 2 x 2 by three."""
    mesh, of = {"data": 1}, []
    for name, size in zip(names, [[8], [2, 4], [2, 2, 2]][len(names) - 1], strict=True):
        axis, rules = STRATEGIES[name]
        mesh[axis] = min(size, 4) if axis in ("pipeline", "tensor") else size
        of += [] if rules is None else [rules]
    left = 8 // int(np.prod(list(mesh.values())))
    mesh["data"] *= left
    return {"exec.mesh": mesh, "exec.rules": {"kind": "product", "of": of}}


PRODUCTS = [(name,) for name in STRATEGIES] + [
    pair
    for pair in combinations(STRATEGIES, 2)
    if STRATEGIES[pair[0]][0] != STRATEGIES[pair[1]][0]
    and fields(pair) not in [fields((name,)) for name in pair]  # by itself an axis of 4 has data 2 beside it already
]
PRODUCTS += [("zero 3", "tensor", "pipeline"), ("zero 3", "sequence", "pipeline"), ("zero 3", "tensor", "expert")]
OF_SEVERAL = {"gpt": [*PRODUCTS[-3:-1], ("tensor", "sequence")], "moe": [PRODUCTS[-1]]}


def slow(model, names):
    """Long to compile, for what the rest shows already: experts beside strategies that leave them alone; and pairs that
    are within a product of three, differ from another by a variant of a strategy, which `make test` has by itself, or
    are with data, of which axes of 4 have two parts anyway."""
    if len(names) == 1:
        return model == "moe" and names != ("expert",)
    return names not in OF_SEVERAL[model]


CASES = [
    pytest.param(
        model, names, id=f"{model}-{' x '.join(names)}", marks=[pytest.mark.slow] if slow(model, names) else []
    )
    for model in MODELS
    for names in PRODUCTS
    if model == "moe" or "expert" not in names
]


@pytest.fixture(scope="module")
def rows():
    ids = np.random.default_rng(1).integers(0, 32, (8, 17), dtype=np.int32)
    return {"tokens": ids[:, :-1], "targets": ids[:, 1:], "weights": np.ones((8, 16), np.float32)}


@pytest.fixture(scope="module")
def stepped(tiny, weights, rows):
    """`stepped(model, **overrides)`: the loss, the parameters after one step, and what one device held before."""

    def step(model, **overrides):
        run = tiny(**(SHAPE | MODELS[model] | overrides))
        devices = jax.devices() if overrides else jax.devices()[:1]
        compiled = program(run, devices)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), compiled.state)  # nothing to compile
        state = jax.device_put(zeros, jax.tree.map(lambda leaf: leaf.sharding, compiled.state))
        state = state._replace(params=jax.tree.map(jax.device_put, weights(run.model), compiled_params(compiled)))
        placed = jax.device_put(rows, compiled.batch_shardings(rows))
        bytes_held = held_by_one_device(state), held_by_one_device(placed)
        after, metrics = compiled.step(state, placed, KEY, hyper(run))
        return float(metrics["loss"]), jax.device_get(after.params), bytes_held

    return step


@pytest.fixture(scope="module")
def alone(stepped):
    return {model: stepped(model) for model in MODELS}


@pytest.mark.often(
    "gpt-data", "gpt-zero 2", "gpt-tensor, split norms", "zero 3 x sequence x pipeline", "moe-zero 3 x tensor x expert"
)
@pytest.mark.parametrize(("model", "names"), CASES)
def test_equals_one_device(stepped, alone, model, names):
    loss, params, _ = stepped(model, **fields(names))
    assert_close((loss, params), alone[model][:2])


def compiled_params(compiled):
    return jax.tree.map(lambda leaf: leaf.sharding, compiled.state.params)


def held_by_one_device(tree):
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))
