"""A run that trains in seconds, on the project's own licence as its text."""

from pathlib import Path

import pytest

LICENCE = Path(__file__).parents[2] / "LICENSE"


@pytest.fixture(scope="session")
def little(tiny):
    """`little(**{"model.dropout": 0.1})`: a Run on bytes of English, with overrides by dotted path."""
    fixed = {"model.num_layers": 1, "model.vocab_size": None, "data.corpus": str(LICENCE), "data.val_tokens": 200}
    return lambda **overrides: tiny(**(fixed | overrides))
