"""Draws follow the stated distribution and never leave the allowed set."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgpt.decode import Sampling
from jaxgpt.spec import ConfigError

P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
DRAWS = 4000


def draws(sampling, probabilities=P, seed=0):
    logits = jnp.tile(jnp.log(jnp.asarray(probabilities, jnp.float32)), (DRAWS, 1))
    return np.asarray(sampling.draw(logits, None, jax.random.key(seed)))


def expected(temperature=1.0, kept=None):
    share = P ** (1 / temperature)
    share[[i for i in range(len(P)) if kept is not None and i not in kept]] = 0
    return share / share.sum()


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"temperature": 1.0}, None),
        ({"temperature": 0.5}, None),
        ({"temperature": 2.0}, None),
        ({"temperature": 1.0, "top_k": 3}, {0, 1, 2}),
        ({"temperature": 1.0, "top_k": 99}, None),
        ({"temperature": 1.0, "top_p": 0.69}, {0, 1}),
        ({"temperature": 1.0, "top_p": 0.71}, {0, 1, 2}),
        ({"temperature": 1.0, "top_p": 1e-6}, {0}),
        ({"temperature": 2.0, "top_k": 4, "top_p": 0.5}, {0, 1}),  # .34 .29 .21 .17 of the tempered four
    ],
    ids=str,
)
def test_frequencies_are_the_tempered_and_cut_distribution(fields, kept):
    counts = np.bincount(draws(Sampling(**fields)), minlength=len(P))
    share = expected(fields["temperature"], kept)
    assert not counts[share == 0].any()
    support = share > 0
    if support.sum() > 1:
        assert stats.chisquare(counts[support], DRAWS * share[support]).pvalue > 1e-3


def test_the_seed_decides_the_draws():
    sampling = Sampling(temperature=1.0)
    np.testing.assert_array_equal(draws(sampling), draws(sampling))
    assert (draws(sampling) != draws(sampling, seed=1)).any()


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, top_k=1)])
def test_temperature_zero_and_a_single_candidate_take_the_likeliest(sampling):
    logits = np.random.default_rng(0).normal(size=(64, 9)).astype(np.float32)
    got = sampling.draw(jnp.asarray(logits), None, jax.random.key(0))
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, logits.argmax(-1))


def test_seen_tokens_are_penalised_whatever_their_sign():
    """CTRL, section 4.1, as everyone computes it: a positive logit is divided, a negative one multiplied."""
    logits = jnp.array([[2.0, 1.5, -1.0], [2.0, 1.9, -1.0], [-1.0, -1.1, -3.0]])
    seen = jnp.array([[True, False, False], [False, True, True], [True, False, True]])
    pick = lambda penalty: Sampling(repetition_penalty=penalty).draw(logits, seen, jax.random.key(0)).tolist()  # noqa: E731
    assert pick(1.0) == [0, 0, 0]
    assert pick(1.3) == [0, 0, 1]
    assert pick(1.4) == [1, 0, 1]
    assert pick(0.5) == [0, 1, 0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("repetition_penalty", 0.0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=rf"^{field}: .*got") as caught:
        Sampling.checked(**{field: value})
    assert "\n" not in str(caught.value)
