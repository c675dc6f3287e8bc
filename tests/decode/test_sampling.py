"""Draws follow the stated distribution and never leave the allowed set."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgpt.decode import Sampling, sampling
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
        ({"temperature": 1.0, "min_p": 0.3}, {0, 1, 2}),  # at least .12
        ({"temperature": 1.0, "top_k": 4, "min_p": 1.0}, {0}),
        ({"temperature": 1.0, "typical_p": 0.25}, {1}),  # surprises .92 1.2 1.9 2.3 3.0; expected 1.39
        ({"temperature": 1.0, "typical_p": 0.72}, {0, 1, 2}),
        ({"temperature": 1.0, "typical_p": 1.0}, None),
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


def by_sorting(logits, temperature, top_k, top_p, key):
    """What `draw` stands for, written down plainly."""
    logits = logits / np.float32(temperature)
    if top_k is not None and top_k < logits.shape[-1]:
        logits = np.where(logits < np.sort(logits, -1)[:, -top_k][:, None], np.float32(-np.inf), logits)
    if top_p is not None and top_p < 1:
        descending = np.flip(np.sort(logits, -1), -1)
        shares = np.exp(descending - descending[:, :1])
        shares /= shares.sum(-1, keepdims=True)
        edge = np.min(np.where(np.cumsum(shares, -1) - shares < top_p, descending, np.inf), -1, keepdims=True)
        logits = np.where(logits < edge, np.float32(-np.inf), logits)
    return jax.random.categorical(key, logits)


@pytest.mark.parametrize("top_p", [None, 1e-6, 0.3, 0.95, 1.0])
@pytest.mark.parametrize("top_k", [None, 1, 7, 50, 51, 10**30])
def test_draws_are_those_of_sorting(top_k, top_p):
    """Rows of small whole numbers, so that many logits are equal, and of any."""
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.integers(-3, 4, (300, 50)), rng.normal(size=(300, 50)) * 3]).astype(np.float32)
    key = jax.random.key(3)
    got = Sampling(temperature=0.7, top_k=top_k, top_p=top_p).draw(jnp.asarray(logits), None, key)
    assert np.mean(got == by_sorting(logits, 0.7, top_k, top_p, key)) > 0.99  # but where rounding decides


def test_thresholds_found_in_fewer_passes_are_the_same():
    """As a GPU finds them: four bits at a time."""
    rng = np.random.default_rng(0)
    logits = -np.abs(np.concatenate([rng.integers(-3, 4, (40, 50)), rng.normal(size=(40, 50)) * 3])).astype(np.float32)
    logits[3, :30] = -np.inf
    ones, reaching = np.ones(logits.shape, np.int32), jax.jit(sampling._reaching, static_argnums=3)
    for weights, totals in ((ones, (1, 7, 50, 99)), (ones / np.float32(64), (0.25, 0.75, 9.0))):
        for total in totals:
            want = reaching(logits, weights, total, 1)
            np.testing.assert_array_equal(reaching(logits, weights, total, 4), want)
            reached = np.where(want, weights, 0).sum(-1)
            assert np.all((reached >= total) | np.all(want, -1))
            least = np.where(want, logits, np.inf).min(-1, keepdims=True)
            assert np.all(np.where(logits > least, weights, 0).sum(-1) < total)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_draw_is_that_of_jax(rows):
    """In a vocabulary that no large number divides, and with equal logits."""
    logits = np.random.default_rng(0).integers(-3, 1, (rows, 157)).astype(np.float32)
    for seed in range(20):
        key = jax.random.key(seed)
        got = Sampling(temperature=1.0).draw(jnp.asarray(logits), None, key)
        np.testing.assert_array_equal(got, jax.random.categorical(key, logits))
    np.testing.assert_array_equal(Sampling().draw(jnp.asarray(logits), None, key), logits.argmax(-1))
    assert np.all(Sampling().draw(jnp.full((rows, 157), jnp.nan), None, key) < 157)


@pytest.mark.parametrize("temperature", [1e-300, 1e-38, 1e-30, 1e-12])
def test_a_tiny_temperature_takes_the_likeliest(temperature):
    logits = np.random.default_rng(0).normal(size=(64, 9)).astype(np.float32)
    sampling = Sampling(temperature=temperature, top_p=0.9)
    np.testing.assert_array_equal(sampling.draw(jnp.asarray(logits), None, jax.random.key(0)), logits.argmax(-1))


@pytest.mark.parametrize("temperature", [0.0, 1e-38, 1.0, 1e300])
def test_infinite_logits_are_certain_or_never_drawn(temperature):
    logits = np.random.default_rng(0).normal(size=(64, 9)).astype(np.float32)
    logits[:32, 3], logits[32:, :8] = np.inf, -np.inf
    got = Sampling(temperature=temperature, top_k=5, top_p=0.9).draw(jnp.asarray(logits), None, jax.random.key(0))
    np.testing.assert_array_equal(got, [3] * 32 + [8] * 32)


def test_a_huge_temperature_makes_all_alike():
    counts = np.bincount(draws(Sampling(temperature=1e300)), minlength=len(P))
    assert stats.chisquare(counts).pvalue > 1e-3


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
        ("temperature", True),
        ("temperature", "0.5"),
        ("temperature", None),
        ("temperature", float("inf")),
        ("top_k", 0),
        ("top_k", 2.5),
        ("top_k", True),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", [1.0]),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=rf"^{field}: .*got") as caught:
        Sampling.checked(**{field: value})
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_will_do():
    fields = {"temperature": np.float32(0.5), "top_k": np.int64(3), "top_p": np.float64(0.5)}
    assert Sampling.checked(**fields) == Sampling(temperature=0.5, top_k=3, top_p=0.5)
