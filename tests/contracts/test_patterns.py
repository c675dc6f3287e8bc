"""Every attention pattern: the closed forms agree with counting, and no gradient flows where attention may not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgpt.models import Decoder
from jaxgpt.nn.layout import Layout

SEAM = "pattern"
EXAMPLES = {"banded": [{"window": 1}, {"window": 3}, {"window": 100}]}
PLAIN = {
    "causal": lambda pattern, q, k: k <= q,
    "banded": lambda pattern, q, k: q - pattern.window + 1 <= k <= q,
    "bidirectional": lambda pattern, q, k: True,
}


def grid(member, length):
    at = np.arange(length)
    return np.broadcast_to(member.allows(at[:, None], at[None, :]), (length, length))


def test_allows_equals_the_definition(member, by_kind):
    plain = by_kind(PLAIN)
    want = [[plain(member, q, k) for k in range(12)] for q in range(12)]
    np.testing.assert_array_equal(grid(member, 12), want)


def test_allows_is_the_same_in_numpy_and_jax(member):
    at = jnp.arange(12)
    np.testing.assert_array_equal(member.allows(at[:, None], at[None, :]), grid(member, 12))


def test_everyone_sees_something(member):
    assert grid(member, 40).any(axis=1).all()


@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_mean_keys_equals_counting(member, length):
    assert member.mean_keys(length) == pytest.approx(grid(member, length).sum(axis=1).mean(), rel=1e-12)


def test_span_is_the_farthest_key(member):
    q, k = np.nonzero(grid(member, 210))
    reach = int((q - k).max()) + 1
    assert reach == (member.span() or 210)


def test_gradients_flow_exactly_where_attention_may(member, weights):
    """d output[t] / d input[s] through a stack: zero to the last bit for forbidden pairs, nonzero for all others."""
    T, layers = 6, 2
    spec = Decoder(num_layers=layers, d_model=8, num_heads=2, context=256, vocab_size=4, pattern=(member,))
    params = weights(spec)
    stack = spec.build(loop="scan").bind({"params": params}).blocks.clone(parent=None)
    layout = Layout(jnp.arange(T, dtype=jnp.int32))

    @jax.jit
    def jacobian(x_TD):
        return jax.jacrev(lambda x: stack.apply({"params": params["blocks"]}, x[None], layout)[0][0, :, 0])(x_TD)

    flow_TS = np.abs(jacobian(np.random.default_rng(3).standard_normal((T, 8)).astype(np.float32))).max(axis=-1)
    hop = grid(member, T) | np.eye(T, dtype=bool)  # the residual stream carries a token to itself
    reach = np.linalg.matrix_power(hop.astype(int), layers) > 0
    np.testing.assert_array_equal(flow_TS > 0, reach)
