"""Two families give the logits that transformers gave (data/make_families.py), without torch."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.interop.families.table import by_config

NUMBERS = Path(__file__).parent / "data" / "families.npz"


@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
def test_logits_are_those_of_transformers(name):
    with np.load(NUMBERS, allow_pickle=False) as held:
        own = {path.removeprefix(f"{name}/"): held[path] for path in held.files if path.startswith(f"{name}/")}
    config = json.loads(str(own["config"]))
    family = by_config(config)
    model = family.spec(config)
    tensors = {path.removeprefix("tensors/"): array for path, array in own.items() if path.startswith("tensors/")}
    params = family.read(tensors, model)
    with jax.default_matmul_precision("float32"):
        got = jax.jit(model.build().apply)({"params": params}, own["ids"])
    assert np.std(own["logits"]) > 0.3
    assert_close(got, own["logits"])
