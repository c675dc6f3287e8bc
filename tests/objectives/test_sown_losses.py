"""Losses that layers sow are part of what is optimised in training, and are reported by name."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from flax import linen as nn

from jaxgpt.objectives import LanguageModel

KEY = jax.random.key(0)


class Layer(nn.Module):
    """Sows the mean square of what it adds, and its mean."""

    @nn.compact
    def __call__(self, x):
        y = x @ self.param("weight", nn.initializers.normal(0.5), (8, 8))
        self.sow("losses", "size", jnp.mean(y**2))
        self.sow("losses", "mean", 0.5 * jnp.mean(y))
        return x + y


class Sower(nn.Module):
    """Two layers, of which the second runs twice, below a token table."""

    spec = SimpleNamespace(vocab_size=32)

    def setup(self):
        self.token = self.param("token", nn.initializers.normal(0.5), (32, 8))
        self.first, self.second = Layer(), Layer()

    def hidden(self, tokens, positions=None, segments=None, train=False):
        return self.second(self.second(self.first(self.token[tokens])))

    def unembed(self, hidden, columns):
        return hidden @ self.token.T


MODEL = Sower()


@pytest.fixture(scope="module")
def params():
    return jax.jit(lambda key: MODEL.init(key, jnp.zeros((1, 1), int), method="hidden")["params"])(KEY)


def by_hand(params, tokens):
    x, size, mean = params["token"][tokens], 0.0, 0.0
    for name in ("first", "second", "second"):
        y = x @ params[name]["weight"]
        x, size, mean = x + y, size + np.mean(y**2), mean + 0.5 * np.mean(y)
    return {"aux/size": size, "aux/mean": mean}


def test_added_in_training_and_reported(params, batch):
    want = by_hand(params, batch["tokens"])
    loss, metrics = jax.jit(lambda p: LanguageModel().loss(MODEL, p, batch, KEY))(params)
    assert metrics.keys() == {"loss", "weight", *want}
    assert_close({name: metrics[name] for name in want}, want)
    assert_close(loss, metrics["loss"] + sum(want.values()), 1e-6)


def test_evaluation_is_without(params, batch):
    loss, metrics = jax.jit(lambda p: LanguageModel().loss(MODEL, p, batch, None))(params)
    assert metrics.keys() == {"loss", "weight"} and loss == metrics["loss"]


def test_seeds_side_by_side_report_their_own(params, batch):
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    _, metrics = jax.jit(jax.vmap(lambda p: LanguageModel().loss(MODEL, p, batch, KEY)))(both)
    for i in range(2):
        one = by_hand(jax.tree.map(lambda leaf, i=i: leaf[i], both), batch["tokens"])
        assert_close({name: metrics[name][i] for name in one}, one)
