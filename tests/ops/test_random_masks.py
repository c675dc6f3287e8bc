"""Dropout drawn row by row: parts of a batch drop what the whole batch drops, in every kernel that drops at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, difference

from jaxgpt.nn.dropout import Dropout
from jaxgpt.ops.attention import AttentionDropout, BlockSparse, Chunked, Reference, Scores, Side
from jaxgpt.ops.patterns import Causal
from jaxgpt.ops.random_masks import by_row, row_keys

KEY = jax.random.key(0)
B, H, T, K = 4, 2, 8, 4
rng = np.random.default_rng(0)
Q, KEYS, V = rng.standard_normal((3, B, H, T, K)).astype(np.float32)


def attend(kernel, rows, q, k, v):
    with by_row(rows):
        side = Side(np.arange(T))
        dropout = AttentionDropout(jax.random.key_data(row_keys(KEY)), jnp.float32(0.5))
        scores = Scores(Causal(), side, side, dropout=dropout, numbering="row")
        return kernel.attend(q, k, v, scores)


@pytest.mark.often("chunked")
@pytest.mark.parametrize(
    "kernel", [Reference(), Chunked(queries=4, keys=4), BlockSparse(block=4)], ids=lambda one: one.kind
)
def test_attention(kernel):
    def both(rows, q, k, v):
        out = lambda *x: attend(kernel, rows, *x)  # noqa: E731
        return out(q, k, v), jax.grad(lambda *x: (out(*x) ** 2).sum(), (0, 1, 2))(q, k, v)

    run = jax.jit(both)
    whole = run(np.arange(B), Q, KEYS, V)
    for rows in (np.array([2, 3]), np.array([0, 1])):
        part = run(rows, *(x[rows] for x in (Q, KEYS, V)))
        assert_close(part, jax.tree.map(lambda x, rows=rows: x[rows], whole))
    again = run(np.array([0, 0, 1, 1]), *(x[[0, 0, 1, 1]] for x in (Q, KEYS, V)))[0]
    assert_close(again[0], again[1], 1e-6)
    other = run(np.array([7, 0, 1, 1]), *(x[[0, 0, 1, 1]] for x in (Q, KEYS, V)))[0]
    assert difference(again[0], other[0]) > 1e-3


def test_dropout_layer():
    x = np.ones((B, T, K), np.float32)

    def run(rows):
        with by_row(rows):
            return Dropout(0.5).apply({}, x[: len(rows)], False, rngs={"dropout": KEY})

    whole = run(np.arange(B))
    np.testing.assert_array_equal(run(np.array([3, 1])), whole[np.array([3, 1])])
    assert set(np.unique(whole)) == {0, 2} and (whole[0] != whole[1]).any()
