"""Options of a training step's programs: for a GPU, through jit, and such that XLA knows them."""

import os

import jax
import pytest

from jaxgpt.parallel import compiler_options
from jaxgpt.parallel.compiler_options import GPU, step_options
from jaxgpt.train import program as programs
from jaxgpt.train.compiled_step import compile_step


def test_a_gpu_has_those_that_xla_knows(monkeypatch):
    """XLA refuses an option that it does not know, on whichever platform it compiles; a release may drop one."""
    assert step_options("cpu") == step_options("tpu") == {}
    assert step_options("gpu") == GPU
    monkeypatch.setattr(compiler_options, "GPU", GPU | {"xla_gpu_that_was_dropped": True})
    assert step_options("gpu") == GPU


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
