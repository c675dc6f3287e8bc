"""A run that trains in seconds, on the project's own licence as its text, and checkpoints to work on."""

import shutil
from pathlib import Path

import pytest
from checkpoints import make_tree

from jaxgpt.train.checkpoint import save

LICENCE = Path(__file__).parents[2] / "LICENSE"


@pytest.fixture(scope="session")
def little(tiny):
    """`little(**{"model.dropout": 0.1})`: a Run on bytes of English, with overrides by dotted path."""
    fixed = {"model.num_layers": 1, "model.vocab_size": None, "data.corpus": str(LICENCE), "data.val_tokens": 200}
    return lambda **overrides: tiny(**(fixed | overrides))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with sound checkpoints of steps 100 and 200; tests work on copies."""
    folder = tmp_path_factory.mktemp("saved") / "ckpt"
    for step in (100, 200):
        save(folder, step, make_tree(step), {"step": step, "val/loss": 1.5})
    return folder


@pytest.fixture
def ckpt(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "ckpt")
