"""Checkpoints to work on."""

import shutil

import pytest
from checkpoints import make_tree

from jaxgpt.runs.checkpoint.checkpoint import save


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
