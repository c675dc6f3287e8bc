"""No run of tokens comes twice where that is asked for: neither in what is written nor with the prompt."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgpt.decode import Sampling, generate
from jaxgpt.decode.sampling import repeating
from jaxgpt.models import GPT2

MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=40, context=64)


def plainly(row, n, V):
    """The tokens that would end a run of n that the row has."""
    runs = {tuple(row[i : i + n]) for i in range(len(row) - n + 1)}
    return {token for token in range(V) if tuple([*row[len(row) - n + 1 :], token]) in runs and len(row) >= n - 1}


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_what_would_repeat_a_run_is_found(n):
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 3, length).tolist() for length in (1, 2, 4, 9, 12)]
    S = 12
    tokens = np.zeros((len(rows), S + 3), np.int32)
    for row, ids in zip(tokens, rows, strict=True):
        row[S - len(ids) : S] = ids
    padding = jnp.array([S - len(ids) for ids in rows])
    found = np.asarray(repeating(jnp.asarray(tokens), jnp.int32(S - 1), padding, n, 4))
    assert [set(np.flatnonzero(row).tolist()) for row in found] == [plainly(ids, n, 4) for ids in rows]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_texts_hold_no_run_twice(weights, temperature):
    prompts = [[1, 2, 3, 1, 2], [5]]
    sampling = Sampling(temperature=temperature, no_repeat_ngram_size=2)
    new = generate(MODEL, weights(MODEL, std=0.3), prompts, 30, sampling)
    for prompt, ids in zip(prompts, new, strict=True):
        row = [*prompt, *ids]
        pairs = [*zip(row[len(prompt) - 1 :], row[len(prompt) :], strict=False)]
        assert len({*pairs}) == len(pairs) == 30 and not {*pairs} & {*pairwise(prompt)}
