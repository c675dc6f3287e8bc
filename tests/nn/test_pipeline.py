"""A pipeline computes what the plain loop over layers does, and between ticks it moves its stages' outputs only."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled
from flax import linen as nn
from rarely import mostly, rarely

from jaxgpt.aot.collectives import Total, collectives, totals
from jaxgpt.models import GPT2
from jaxgpt.nn.block import BlockSpec
from jaxgpt.nn.dropout import Dropout
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.pipeline import Pipelined, bubble
from jaxgpt.nn.pipeline_layout import exchange_rounds
from jaxgpt.nn.stack import Stack
from jaxgpt.ops.attention import Reference
from jaxgpt.ops.patterns import Causal
from jaxgpt.ops.random_masks import by_row
from jaxgpt.ops.sharding import constraining
from jaxgpt.parallel import Mesh, Standard, placement_of, shardings

B, T, L, D = 16, 8, 8, 16
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 32, (B, T), dtype=np.int32)
SEGMENTS = np.sort(RNG.integers(0, 3, (B, T), dtype=np.int32), axis=1)
POSITIONS = np.stack([[t - list(row).index(row[t]) for t in range(T)] for row in SEGMENTS]).astype(np.int32)
PATTERNS = {1: ["causal"], 2: ["causal", {"kind": "banded", "window": 3}]}


def gpt2(period=1, **fields):
    size = {"num_layers": L, "d_model": D, "num_heads": 2, "context": T, "vocab_size": 32}
    return GPT2.model_validate(size | {"pattern": PATTERNS[period]} | fields)


def loss_and_gradient(spec, loop, remat="none", packed=True):
    model = spec.build(Reference(), loop=loop, remat=remat)

    def loss(params, tokens, positions, segments):
        where = (positions, segments) if packed else ()
        hidden = model.apply({"params": params}, tokens, *where, method="hidden")
        return jnp.mean(jnp.sin(model.apply({"params": params}, hidden, method="unembed")))

    return jax.value_and_grad(loss)


def compiled(spec, sizes, loop, devices=None, **how):
    """The loss and its gradient on a mesh, from parameters placed by the standard rules."""
    mesh = Mesh(**sizes).build(devices)
    placed = shardings(spec.shapes(), Standard(), mesh, "params/")
    params = jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), spec.shapes(), placed)
    rows = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (TOKENS, POSITIONS, SEGMENTS)]
    with constraining(placement_of(Standard(), mesh)):
        return jax.jit(loss_and_gradient(spec, loop, **how)).lower(params, *rows).compile()


@pytest.fixture(scope="module")
def known(weights):
    """`known(period)`: parameters, and what the scan on one device makes of them."""
    held = {}

    def of(period):
        if period not in held:
            spec = gpt2(period)
            params = weights(spec)
            held[period] = params, jax.jit(loss_and_gradient(spec, "scan"))(params, TOKENS, POSITIONS, SEGMENTS)
        return held[period]

    return of


ON_ONE_DEVICE = {
    "gpipe, fewer microbatches than stages": (2, Pipelined(stages=4, microbatches=2), "block"),
    "gpipe, unrolled": (2, Pipelined(stages=2, microbatches=4, layers="unroll"), "dots"),
    "circular": (2, Pipelined(stages=2, microbatches=4, repeats=2), "none"),
    "circular, four times": (1, Pipelined(stages=2, microbatches=8, repeats=4, layers="unroll"), "stage"),
}


@pytest.mark.often("gpipe")
@pytest.mark.parametrize("case", mostly(ON_ONE_DEVICE, "gpipe, fewer microbatches than stages", "circular"))
def test_equals_the_scan(known, case):
    period, loop, remat = ON_ONE_DEVICE[case]
    params, want = known(period)
    got = jax.jit(loss_and_gradient(gpt2(period), loop, remat))(params, TOKENS, POSITIONS, SEGMENTS)
    assert_close(
        got,
        want,
        scale=cancelled(want[1]),
    )


ON_MESHES = {
    "pipeline 4 x data 2": ({"pipeline": 4, "data": 2}, 2, Pipelined(stages=4, microbatches=8), "none"),
    "pipeline 4 x data 2, circular": (
        {"pipeline": 4, "data": 2},
        1,
        Pipelined(stages=4, microbatches=4, repeats=2),
        "stage",
    ),
    "pipeline 2 x tensor 2 x data 2, circular": (
        {"pipeline": 2, "tensor": 2, "data": 2},
        2,
        Pipelined(stages=2, microbatches=4, repeats=2),
        "block",
    ),
    "pipeline 2 x fsdp 4": ({"pipeline": 2, "fsdp": 4, "data": 1}, 2, Pipelined(stages=2, microbatches=4), "dots"),
}


@pytest.mark.often("circular")
@pytest.mark.parametrize("case", mostly(ON_MESHES, "pipeline 4 x data 2", "pipeline 2 x tensor 2 x data 2, circular"))
def test_equals_one_device(known, case):
    sizes, period, loop, remat = ON_MESHES[case]
    params, want = known(period)
    step = compiled(gpt2(period), sizes, loop, remat=remat)
    args = jax.tree.map(jax.device_put, (params, TOKENS, POSITIONS, SEGMENTS), step.input_shardings[0])
    assert_close(step(*args), want, scale=cancelled(want[1]))


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [rarely(1), 2])
def test_between_two_ticks_only_the_stages_outputs_move(repeats):
    """One permute a tick each way; outside the loop rows enter and leave by one sum each, and with repeats every stage
    gets its weights by permutes, each group once, and gives the gradients back."""
    S, M, whole = 4, 8, B * T * D * 4
    loop = Pipelined(stages=S, microbatches=M, repeats=repeats)
    program = compiled(gpt2(), {"pipeline": S, "data": 1}, loop, jax.devices()[:S], remat="block")
    found = collectives(program.as_text())
    ticks = M * repeats + S - 1
    moved = [one for one in found if one.times > 1]
    assert [(one.kind, one.times, one.bytes) for one in moved] == [("collective-permute", ticks, whole // M)] * 2
    once = totals(one for one in found if one.times == 1)
    layers = [leaf for leaf in jax.tree.leaves(gpt2().shapes()["blocks"])]
    assert once.pop("all-reduce") == Total(2, 2 * whole)
    groups, held = 2 * repeats * len(layers), 2 * sum(leaf.size for leaf in layers) * 4 // S
    assert once == ({} if repeats == 1 else {"collective-permute": Total(groups, held)})


@pytest.mark.parametrize(
    ("sizes", "period"), [rarely({"pipeline": 4, "data": 2}, 2), ({"pipeline": 2, "tensor": 2, "data": 2}, 1)]
)
def test_no_product_of_axes_gathers_what_stages_hold(sizes, period):
    S = sizes["pipeline"]
    found = collectives(compiled(gpt2(period), sizes, Pipelined(stages=S, microbatches=4)).as_text())
    assert [one.kind for one in found if one.kind not in ("all-reduce", "collective-permute")] == []
    permutes = [one for one in found if one.kind == "collective-permute" and one.times > 1]
    assert [(one.times, one.group) for one in permutes] == [(4 + S - 1, S)] * 2


@pytest.mark.parametrize("S", range(1, 9))
@pytest.mark.parametrize("R", range(1, 9))
def test_every_stage_sends_and_gets_one_group_a_round(S, R):
    sent_SR, got_SR = exchange_rounds(S, R)
    groups = np.arange(S)[:, None] * R + sent_SR
    for row in (*sent_SR, *got_SR):
        assert sorted(row) == list(range(R))
    for c in range(R):
        assert sorted(groups[:, c] % S) == list(range(S))
        for group in groups[:, c]:
            assert got_SR[group % S, group // S] == c


class Unit(nn.Module):
    """A block without attention that is NaN on zeros and sows two losses, one of them in two places."""

    spec: BlockSpec

    @nn.compact
    def __call__(self, x, layout, pattern, cache=None, train=False, bias_H=None, prefix=None):
        y = Router(name="feed_forward")(x / jnp.sqrt(jnp.sum(x**2, -1, keepdims=True)), train)
        y = Dropout(self.spec.dropout)(y, deterministic=not train)
        if train:
            self.sow("losses", "router_z", jnp.mean(y))
        return x + y, cache


class Router(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        y = jnp.tanh(x @ self.param("weight", nn.initializers.normal(0.5), (D, D)))
        if train:
            self.sow("losses", "balance", jnp.mean(jax.nn.relu(y)) * jnp.mean(y**2))
            self.sow("losses", "router_z", jnp.mean(y**2))
        return y


def stack(loop, remat="none", dropout=0.0):
    return Stack(Unit(BlockSpec(d_model=D, num_heads=1, dropout=dropout), parent=None), L, (Causal(),), loop, remat)


LAYOUT = Layout(pos=np.arange(T, dtype=np.int32))
X = RNG.standard_normal((B, T, D)).astype(np.float32)


@pytest.fixture(scope="module")
def units():
    return stack("scan").init(jax.random.key(0), X, LAYOUT)["params"]


@partial(jax.jit, static_argnums=(0, 3))
def losses_of(loop, params, x, remat="none"):
    """The auxiliary losses as the caller sees them, and the gradient of their sum."""

    def total(p):
        _, sown = stack(loop, remat).apply({"params": p}, x, LAYOUT, train=True, mutable=["losses"])
        losses = {name: value for name, (value,) in sown["losses"].items()}
        return sum(losses.values()), losses

    grads, losses = jax.grad(total, has_aux=True)(params)
    return losses, grads


def by_hand(params, x):
    """The same, layer by layer."""
    losses = Counter()
    for weight in params["layers"]["feed_forward"]["weight"]:
        y = np.tanh(x / np.sqrt(np.sum(x**2, -1, keepdims=True)) @ np.asarray(weight))
        losses["balance"] += np.mean(np.maximum(y, 0)) * np.mean(y**2)
        losses["router_z"] += np.mean(y**2) + np.mean(y)
        x = x + y
    return dict(losses)


@pytest.mark.parametrize(("loop", "remat"), [("scan", "block"), ("unroll", "none")])
def test_auxiliary_losses_are_summed_over_layers_by_name(units, loop, remat):
    assert_close(losses_of(loop, units, X, remat)[0], by_hand(units, X))


@pytest.mark.parametrize(("repeats", "remat"), [(1, "none"), rarely(1, "stage"), rarely(2, "none"), (2, "stage")])
def test_auxiliary_losses_of_a_pipeline_are_those_of_its_microbatches(units, repeats, remat):
    """Bubbles add nothing, and nothing that is not finite."""
    loop = Pipelined(stages=4, microbatches=4, repeats=repeats)
    each = [losses_of("scan", units, X[m::4]) for m in range(4)]
    assert_close(losses_of(loop, units, X, remat), jax.tree.map(lambda *parts: sum(parts) / 4, *each))


def test_nothing_is_sown_where_blocks_sow_nothing(weights):
    spec = gpt2(num_layers=2)
    for loop in ("scan", "unroll", Pipelined(stages=2, microbatches=2)):
        model = spec.build(loop=loop)
        _, sown = jax.eval_shape(lambda p, m=model: m.apply({"params": p}, TOKENS, mutable=["losses"]), spec.shapes())
        assert sown == {}


def test_dropout_depends_on_layer_and_row_alone(units):
    """In whichever microbatch a row goes, and without a pipeline. Equal rows must not share a mask."""

    def run(loop):
        module = stack(loop, dropout=0.5)
        rows = np.broadcast_to(X[:1], X.shape)

        def apply(p, key):
            with by_row(jnp.arange(B)):
                return module.apply({"params": p}, rows, LAYOUT, train=True, rngs={"dropout": key})[0]

        return np.asarray(jax.jit(apply)(units, jax.random.key(1)))

    gpipe = run(Pipelined(stages=4, microbatches=4))
    assert_close(gpipe, run(Pipelined(stages=2, microbatches=4, repeats=2)))
    assert_close(gpipe, run("scan"))
    assert len({row.tobytes() for row in gpipe}) == B


def test_bubble_is_what_a_schedule_leaves_idle():
    """Every stage takes the first work in line whose input is there: repeats in turn, microbatches within."""
    for S, M, R in [(1, 4, 1), (4, 1, 1), (4, 8, 1), (4, 4, 2), (3, 5, 4), (8, 16, 2)]:
        done, lines, ticks = {}, {s: [(r, m) for r in range(R) for m in range(M)] for s in range(S)}, 0
        while any(lines.values()):
            ready = {}
            for s, line in lines.items():
                if line:
                    r, m = line[0]
                    needs = (s - 1, r, m) if s else (S - 1, r - 1, m) if r else None
                    if needs is None or done.get(needs, ticks) < ticks:
                        ready[s] = line.pop(0)
            done |= {(s, *item): ticks for s, item in ready.items()}
            ticks += 1
        assert bubble(S, M, R) == pytest.approx(1 - M * R / ticks)
