"""Models whose answers a test decides, and a small real one."""

import pytest

from jaxgpt.evals.pairs import Scored
from jaxgpt.inference.loaded import Loaded
from jaxgpt.models import GPT2
from jaxgpt.text.tokenizers.byte import ByteCodec

MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=257, context=96)


class Stub:
    """Reads bytes; `worth(context, continuation)` is a log-probability, `says(prompt)` what is written."""

    codec = ByteCodec()

    def __init__(self, worth=None, says=None, room=400):
        self.worth, self.says, self.room, self.asked, self.writings = worth, says, room, [], []

    def score(self, pairs):
        texts = [(self.codec.decode(pair.context), self.codec.decode(pair.continuation)) for pair in pairs]
        self.asked += texts
        assert all(len(pair.context) + len(pair.continuation) <= self.room + 1 for pair in pairs)
        return [Scored(float(self.worth(*text)), self.worth(*text) > -1) for text in texts]

    def write(self, prompts, writing):
        self.asked += prompts
        self.writings.append(writing)
        return [self.says(prompt) for prompt in prompts]


@pytest.fixture
def stub():
    return Stub


@pytest.fixture(scope="session")
def m(weights):
    return Loaded(MODEL, MODEL, weights(MODEL, std=0.3), ByteCodec())
