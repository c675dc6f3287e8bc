"""A mixture of experts against a plain loop over experts, who is dropped, causality by gradients, and any mesh."""

import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from jax.sharding import NamedSharding, PartitionSpec
from pydantic import ValidationError
from rarely import rarely

from jaxgpt.models import Decoder
from jaxgpt.nn import MoE
from jaxgpt.nn.feed_forward import MLP, Gated
from jaxgpt.nn.linear import Linears
from jaxgpt.ops import routing
from jaxgpt.ops.sharding import constraining
from jaxgpt.parallel import ROWS, Mesh, Standard, placement_of, shardings

B, T, D, E = 8, 24, 8, 8
LINEARS = Linears(jnp.float32, std=0.3, residual_std=0.3, bias=True)
MANY = {"num_experts": E, "top_k": 2, "normalize": True, "expert": {"kind": "mlp", "d_ff": 16}}
ROOT = "params/feed_forward/"


def made(spec, seed=0):
    """The module and parameters drawn by numpy, biases included."""
    module, rng = spec.module(LINEARS, "ff"), np.random.default_rng(seed)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 1, D)))["params"]
    return module, jax.tree.map(lambda leaf: 0.5 * rng.standard_normal(leaf.shape).astype(np.float32), shapes)


@partial(jax.jit, static_argnums=0)
def value_and_grad(call, params, x):
    return jax.value_and_grad(lambda p, x: jnp.sum(jnp.sin(call(p, x)) ** 2), (0, 1))(params, x)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).standard_normal((B, T, D)).astype(np.float32)


@cache
def every_expert(spec):
    """The layer's formula with every expert on every token."""
    one = spec.expert.module(LINEARS, "one")

    def call(params, x):
        probs = jax.nn.softmax(x @ params["router"]["weight"], -1)
        kth = jnp.sort(probs, -1)[..., -spec.top_k, None]
        gate = jnp.where(probs >= kth, probs, 0)
        gate = gate / gate.sum(-1, keepdims=True) if spec.normalize else gate
        run = lambda e: one.apply({"params": jax.tree.map(lambda w: w[e], params["experts"])}, x)  # noqa: E731
        return jnp.einsum("bte,ebtd->btd", gate, jnp.stack([run(e) for e in range(spec.num_experts)]))

    return call


@pytest.mark.often("mlp-None", "gated-1.0")
@pytest.mark.parametrize("factor", [None, 1.0])
@pytest.mark.parametrize("expert", [MLP(d_ff=16), Gated(d_ff=12)], ids=["mlp", "gated"])
def test_one_expert_is_the_plain_layer(expert, factor, x):
    module, params = made(MoE(num_experts=1, expert=expert, capacity_factor=factor))
    plain = expert.module(LINEARS, "plain")
    only = jax.tree.map(lambda leaf: leaf[0], params["experts"])
    got = value_and_grad(lambda p, x: module.apply({"params": p}, x), params, x)
    want = value_and_grad(lambda p, x: plain.apply({"params": p}, x), only, x)
    assert_close((got[0], jax.tree.map(lambda g: g[0], got[1][0]["experts"]), got[1][1]), (want[0], *want[1]))


@pytest.mark.parametrize("factor", [None, 100.0])
@pytest.mark.parametrize(
    "fields",
    [
        rarely({"top_k": 1}, id="switch"),
        rarely({"top_k": 2}, id="two, plain gates"),
        pytest.param({"normalize": True}, id="gshard"),
        rarely({"normalize": True, "top_k": 3, "expert": Gated(d_ff=12)}, id="gated"),
    ],
)
def test_with_room_for_all_it_is_the_sum_over_experts(fields, factor, x):
    spec = MoE.model_validate(MANY | {"normalize": False} | fields | {"capacity_factor": factor})
    module, params = made(spec)
    got = value_and_grad(lambda p, x: module.apply({"params": p}, x), params, x)
    assert_close(got, value_and_grad(every_expert(spec.evolve(capacity_factor=None)), params, x))
    assert np.abs(got[1][0]["router"]["weight"]).max() > 1e-3


@pytest.mark.parametrize("top_k", [1, 2])
def test_what_finds_no_place_adds_nothing(top_k, x):
    """Those dropped are the later ones, row by row."""
    spec = MoE(num_experts=E, top_k=top_k, capacity_factor=0.5, expert=MLP(d_ff=16))
    module, params = made(spec)
    y = jax.jit(module.apply)({"params": params}, x)
    whole = jax.jit(every_expert(spec))(params, x)
    chosen = routing.route(x @ params["router"]["weight"], top_k, False).expert
    places = routing.capacity(T, E, top_k, 0.5)
    for b in range(B):
        seen = np.zeros(E, int)
        for t in range(T):
            kept = seen[chosen[b, t]] < places
            seen[chosen[b, t]] += 1
            if kept.all():
                assert_close(y[b, t], whole[b, t])
            if not kept.any():
                assert not np.any(y[b, t])
        assert (seen > places).any()


@pytest.mark.parametrize("factor", [0.5, 1.25, None])
def test_no_token_sees_a_later_one_or_another_row(factor, x):
    module, params = made(MoE.model_validate(MANY | {"capacity_factor": factor}))
    run = jax.jit(lambda p, x: module.apply({"params": p}, x))
    jacobian = jax.jit(jax.jacrev(lambda x, p: run(p, x).sum(-1)))(x[:2], params)
    seen = np.abs(jacobian).sum(-1) > 0  # (B, T) by (B, T)
    allowed = np.eye(2, dtype=bool)[:, None, :, None] & np.tri(T, dtype=bool)[None, :, None, :]
    assert not (seen & ~allowed).any() and seen.any()
    for t in range(1, T, 4):  # gradients do not see who takes whose place
        changed = x.copy()
        changed[0, t:] = -changed[0, t:]
        changed[1] = x[2]
        np.testing.assert_array_equal(run(params, changed)[0, :t], run(params, x)[0, :t])


def test_losses_are_sown_weighted_and_only_where_asked(x):
    spec = MoE.model_validate(MANY | {"balance_weight": 0.5, "z_weight": 0.25})
    module, params = made(spec)
    _, sown = jax.jit(lambda p, x: module.apply({"params": p}, x, mutable=["losses"]))(params, x)
    logits = x @ params["router"]["weight"]
    expert = routing.route(logits, 2, True).expert
    balance = np.mean([routing.balance(*row) for row in zip(logits, expert, strict=True)])
    assert_close(sown["losses"], {"balance": (0.5 * balance,), "router_z": (0.25 * routing.router_z(logits),)})
    silent, _ = made(spec.evolve(balance_weight=0, z_weight=0))
    assert jax.eval_shape(lambda p, x: silent.apply({"params": p}, x, mutable=["losses"])[1], params, x) == {}
    assert jax.eval_shape(module.init, jax.random.key(0), x).keys() == {"params"}


def test_experts_start_apart_and_more_of_them_change_no_other():
    few, many = (
        jax.jit(MoE(num_experts=n).module(LINEARS, "ff").init)(jax.random.key(0), jnp.zeros((1, 1, D)))["params"]
        for n in (2, 3)
    )
    assert_close(jax.tree.map(lambda w: w[:2], many["experts"]), few["experts"], 0)
    assert np.any(few["experts"]["up"]["weight"][0] != few["experts"]["up"]["weight"][1])


@pytest.mark.parametrize("factor", [rarely(1.25), None])
def test_seeds_side_by_side_are_each_alone(factor, x):
    spec = MoE.model_validate(MANY | {"capacity_factor": factor})
    module = spec.module(LINEARS, "ff")
    lanes = [made(spec, seed)[1] for seed in range(3)]
    xs = np.stack([x[:4], x[2:6], x[4:]])

    def loss(params, x):
        y, sown = module.apply({"params": params}, x, mutable=["losses"])
        return jnp.sum(jnp.sin(y) ** 2) + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(sown))

    got = jax.jit(jax.vmap(jax.value_and_grad(loss)))(jax.tree.map(lambda *leaves: np.stack(leaves), *lanes), xs)
    alone = jax.jit(jax.value_and_grad(loss))
    for i, params in enumerate(lanes):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], got), alone(params, xs[i]))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"num_experts": 2, "top_k": 3}, "top_k 3 exceeds num_experts 2"),
        ({"normalize": True}, "top_k 2 or more"),
        ({"expert": "moe"}, "use mlp or gated"),
        ({"capacity_factor": 0}, "greater than 0"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(fields, word):
    with pytest.raises(ValidationError, match=word):
        MoE.model_validate(fields)


def test_flops_count_the_experts_a_token_meets():
    size = {"num_layers": 3, "d_model": D, "num_heads": 2, "context": 16, "vocab_size": 32}
    dense, sparse = (
        Decoder.model_validate(size | {"feed_forward": ff})
        for ff in ({"kind": "mlp", "d_ff": 32}, {"kind": "moe", "top_k": 2, "expert": {"kind": "mlp", "d_ff": 16}})
    )
    router, biases = D * 8, 2 * D - D  # two experts of half the width have two output biases
    assert sparse.flops_per_token(16) - dense.flops_per_token(16) == 6 * 3 * (router + biases)
    assert sparse.idle == 3 * 6 * (2 * D * 16 + 16 + D) and dense.idle == 0


MESHES = {
    "expert 8": {"expert": 8},
    "data 2 x expert 4": {"data": 2, "expert": 4},
    "expert 2 x tensor 2 x data 2": {"expert": 2, "tensor": 2, "data": 2},
    "expert 2 x sequence 2 x fsdp 2": {"expert": 2, "sequence": 2, "fsdp": 2},
}
OFTEN = "expert 8", "expert 2 x tensor 2 x data 2"


@cache
def with_losses(factor):
    """Parameters, a loss with the layer's output beside it, and its gradient on one device."""
    module, params = made(MoE.model_validate(MANY | {"capacity_factor": factor}))

    def loss(params, x):
        y, sown = module.apply({"params": params}, x, mutable=["losses"])
        return jnp.sum(jnp.sin(y) ** 2) / B + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(sown)), y

    return params, loss, jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))


@pytest.mark.parametrize("factor", [1.0, None], ids=["bounded", "dropless"])
@pytest.mark.parametrize(
    "sizes", [MESHES[name] if name in OFTEN else rarely(MESHES[name]) for name in MESHES], ids=MESHES
)
def test_any_mesh_is_one_device_and_tokens_or_experts_travel(sizes, factor, x):
    params, loss, alone = with_losses(factor)
    rules, mesh = Standard(), Mesh(**({"data": 1} | sizes)).build(jax.devices())
    layout = shardings(params, rules, mesh, ROOT)
    rows = NamedSharding(mesh, PartitionSpec(ROWS, "sequence"))
    placed = jax.device_put(params, layout), jax.device_put(x, rows)

    def on_mesh(params, x):
        with constraining(placement_of(rules, mesh)):
            return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)

    compiled = jax.jit(on_mesh, out_shardings=((None, rows), (layout, rows))).lower(*placed).compile()
    assert_close(compiled(*placed), alone(params, x))
    text = compiled.as_text()
    exchanges = len(re.findall(r" all-to-all(?:-start)?\(", text))
    if factor:
        assert exchanges >= 4  # there and back, and so the gradients
    if sizes == {"expert": 8}:
        assert exchanges == (4 if factor else 0) and ("all-gather" in text) == (factor is None)


@pytest.mark.parametrize("factor", [rarely(1.25, id="bounded"), pytest.param(None, id="dropless")])
def test_stages_of_a_pipeline_are_each_alone(factor, x):
    spec = MoE.model_validate(MANY | {"capacity_factor": factor})
    module, (first, second) = spec.module(LINEARS, "ff"), (made(spec, seed)[1] for seed in range(2))
    mesh = Mesh(data=1, pipeline=2, expert=4).build(jax.devices())
    call = jax.value_and_grad(lambda p, x: jnp.sum(jnp.sin(module.apply({"params": p}, x)) ** 2), (0, 1))

    def staged(params, x):
        with constraining(placement_of(Standard(), mesh)):
            return jax.vmap(call, spmd_axis_name="pipeline")(params, x)

    got = jax.jit(staged)(jax.tree.map(lambda *leaves: np.stack(leaves), first, second), np.stack([x, -x]))
    for i, (params, rows) in enumerate([(first, x), (second, -x)]):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], got), jax.jit(call)(params, rows))
