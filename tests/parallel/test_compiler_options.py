"""Options of a training step's programs: for a GPU, through jit, and such that XLA knows them."""

import os

import jax
import jax.numpy as jnp
import pytest

from jaxgpt.parallel.compiler_options import STEP, step_options
from jaxgpt.train import program as programs
from jaxgpt.train.compiled_step import compile_step


def test_only_a_gpu_has_some_and_xla_knows_them():
    """XLA refuses an option that it does not know, on whichever platform it compiles."""
    assert step_options("cpu") == step_options("tpu") == {}
    for options in STEP.values():
        jax.jit(jnp.sin, compiler_options=options).lower(0.0).compile()


def test_the_step_is_compiled_with_them_and_the_environment_is_left_alone(tiny, monkeypatch):
    flags = os.environ.get("XLA_FLAGS")
    monkeypatch.setattr(programs, "step_options", lambda platform: {f"no_such_option_on_a_{platform}": 1})
    run = tiny(**{"model.d_model": 24, "model.num_heads": 3})
    try:
        with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_option_on_a_cpu"):
            compile_step(run, programs.program(run, jax.devices()[:1]))
    finally:
        programs._program.cache_clear()
    assert os.environ.get("XLA_FLAGS") == flags
