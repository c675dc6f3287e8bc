"""Pieces of a known count, as a GPU wants them, write the same tokens as asking after each; a step copies no cache."""

import re
from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rarely import rarely

from jaxgpt.decode import Sampling, generate, generation, rollout, rollouts, stream
from jaxgpt.decode.loop import Inputs, Program, advance, begin
from jaxgpt.decode.pieces import whole_pieces
from jaxgpt.models import Decoder
from jaxgpt.nn.stack import unstack

SPEC = Decoder(num_layers=1, d_model=16, num_heads=2, context=32, vocab_size=32)
PROMPTS, NEW = ([3, 1, 4, 1, 5, 9, 2, 6, 5], [7], [2, 7, 1, 8]), 12
HOT = Sampling(temperature=2.0, top_k=5)


@pytest.fixture(scope="module")
def params(weights):
    return weights(SPEC)


def written(params, sampling=HOT, eot=None):
    """By generation, by a stream that asks for what no piece divides, and by a rollout."""
    ends = [] if eot is None else [eot]
    pieces = stream(SPEC, params, PROMPTS, NEW, sampling, ends=ends, every=7)
    streamed = [list(chain(*column)) for column in zip(*pieces, strict=True)]
    tokens = np.zeros((len(PROMPTS), 16), np.int32)
    for row, ids in zip(tokens, PROMPTS, strict=True):
        row[16 - len(ids) :] = ids
    lengths, key = np.array([len(ids) for ids in PROMPTS], np.int32), jax.random.fold_in(jax.random.key(0), 0)
    roll = jax.jit(lambda *given: rollout(SPEC.build(), *given, NEW, sampling, eot=eot))
    return generate(SPEC, params, PROMPTS, NEW, sampling, ends=ends), streamed, roll(params, tokens, lengths, key)


@pytest.mark.parametrize("ends", [True, rarely(False)])
def test_pieces_of_a_known_count_write_the_same(params, monkeypatch, ends):
    eot = generate(SPEC, params, PROMPTS, NEW, HOT)[0][-1] if ends else None
    asked = written(params, eot=eot)
    for module in (generation, rollouts):
        monkeypatch.setitem(module.PIECE, "cpu", 4)
    got = written(params, eot=eot)
    assert got[:2] == asked[:2]
    jax.tree.map(np.testing.assert_array_equal, got[2], asked[2])
    assert (len(asked[0][0]) < NEW) == ends


@pytest.mark.parametrize("count", [1, 5, 8, 9, 31, 63, 97, 101, 511])
def test_whole_pieces_write_little_in_vain(count):
    size = whole_pieces(count, 8)
    assert 1 <= size <= 16 and -count % size <= 1
    assert whole_pieces(count, 1) == 1


def step(spec, rows, piece, dtype="float32"):
    """The loop, as a function of parameters and state, and their shapes."""
    program = Program(spec.build(dtype=dtype), HOT.steps, (9,), piece=piece)
    shapes = lambda make, *given: jax.eval_shape(make, *given)  # noqa: E731
    params = shapes(lambda: spec.build().init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))["params"])
    inputs = Inputs(shapes(unstack, params), HOT.values, None)
    tokens, lengths = np.zeros((rows, 16), np.int32), np.ones(rows, np.int32)
    state = shapes(lambda given: begin(program, 64, given, tokens, lengths, jax.random.key(0)), inputs)
    return (lambda given, state: advance(program, given, state, 8)), inputs, state


@pytest.mark.parametrize(("rows", "heads", "piece"), [(1, 2, 1), (3, 2, 1), (1, 1, 4)])
def test_a_step_copies_no_cache(rows, heads, piece):
    """Each is as large as what a step reads of it: copied, it would be read three times."""
    loop, inputs, state = step(SPEC.evolve(num_kv_heads=heads, vocab_size=50), rows, piece)
    sizes = {leaf.size for leaf in jax.tree.leaves(state.cache)}
    text = jax.jit(loop, donate_argnums=1).lower(inputs, state).compile().as_text()
    bodies = text[: text.index("\nENTRY")]
    copied = [
        np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"= \w+\[([\d,]+)\]\S* copy\(", bodies)
    ]
    assert not sizes & set(copied)
    assert ('"known_trip_count":{"n":"4"}' in text) == (piece == 4)


def test_weights_are_brought_to_the_dtype_of_products_once():
    """Not for each token: XLA:GPU would leave it in the loop. A router's stay float32, so does what is looked up."""
    experts = {"kind": "moe", "num_experts": 3, "top_k": 2}
    loop, inputs, state = step(SPEC.evolve(feed_forward=experts, tied=False), 2, 1, "bfloat16")
    (turns,) = [eqn for eqn in jax.make_jaxpr(loop)(inputs, state).eqns if eqn.primitive.name == "while"]
    params = jax.tree_util.tree_leaves_with_path(inputs.params)
    carried = [var.aval for var in turns.params["body_jaxpr"].jaxpr.invars]
    for path, leaf in params:
        name = jax.tree_util.keystr(path)
        wide = "weight" not in name or "router" in name
        assert any(x.shape == leaf.shape and x.dtype == (jnp.float32 if wide else jnp.bfloat16) for x in carried), name
    assert sum(x.dtype == jnp.float32 and x.ndim > 1 for x in carried) == 5  # tables, router, biases of experts
