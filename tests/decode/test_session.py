"""A row that is written on and on: the same as from the beginning, and nothing is read twice."""

import pytest

from jaxgpt.decode import Sampling, generate
from jaxgpt.decode.session import Session
from jaxgpt.models import GPT2, Llama, Mistral
from jaxgpt.ops.patterns import Banded
from jaxgpt.spec import ConfigError

SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 2, "vocab_size": 50, "context": 64}
MODELS = {
    "learned": GPT2(**SIZE),
    "rotary": Llama(**SIZE | {"num_heads": 4, "num_kv_heads": 2}),
    "ring": Mistral(**SIZE, pattern=(Banded(window=6),)),
}


def whole(pieces):
    return [token for piece in pieces for token in piece]


@pytest.mark.often("rotary", "ring")
@pytest.mark.parametrize("name", MODELS)
def test_turns_are_those_of_the_whole_row(weights, name):
    """Prompts that go on from what was written, one that goes back, and one that is new."""
    model = MODELS[name]
    params = weights(model, std=0.3)
    session = Session(model, params)
    first = [3, 1, 4, 1, 5]
    row = first
    for more in ([9, 2, 6], [5, 3]):
        new = whole(session.write(row, 10))
        assert new == generate(model, params, [row], 10)[0]
        row = [*row, *new, *more]
    for other in ([*first, 7], [8, 8, 8]):
        assert whole(session.write(other, 10)) == generate(model, params, [other], 10)[0]


def test_what_was_read_is_not_read_again(weights):
    model = MODELS["learned"]
    session = Session(model, weights(model, std=0.3))
    row = [3, 1, 4, 1, 5]
    new = whole(session.write(row, 10))
    assert session.read == 5
    whole(session.write([*row, *new, 9, 2], 3))
    assert session.read == 5 + 1 + 2  # the last token that was written has never been read


def test_end_of_text_ends_it_and_draws_are_of_the_seed(weights):
    model = MODELS["learned"]
    params = weights(model, std=0.3)
    new = generate(model, params, [[3, 1]], 12)[0]
    assert whole(Session(model, params, ends=[new[4]]).write([3, 1], 12)) == new[: new.index(new[4])]
    drawn = [whole(Session(model, params, Sampling(temperature=1.0)).write([3, 1], 12, seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_penalty_sees_what_is_in_the_cache(weights):
    model, sampling = MODELS["learned"], Sampling(repetition_penalty=5.0)
    params = weights(model, std=0.3)
    session, row = Session(model, params, sampling), [3, 1, 4]
    for _ in range(2):
        new = whole(session.write(row, 6))
        assert new == generate(model, params, [row], 6, sampling)[0]
        row = [*row, *new, 7]


def test_what_does_not_fit(weights):
    model = MODELS["learned"]
    with pytest.raises(ConfigError, match="max_new: 60 after a prompt of 5 tokens exceeds the model's 64; lower it"):
        whole(Session(model, weights(model)).write([1] * 5, 60))
