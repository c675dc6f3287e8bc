"""What XLA is asked besides its defaults, per program: a library that set XLA_FLAGS would decide for all others.

Each option was read off the optimised program of a GPT-2 124M step for an H200 (jax 0.11.2, compiled without the card).
"""

from functools import lru_cache

import jax
import jax.numpy as jnp

Options = dict[str, int | bool]

GPU: Options = {
    # Products with the same operand, merged into one, have their biases added and their gradients joined and cut in
    # passes of their own: 2.3 ms of 12.5 that are spent outside of products and attention.
    "xla_gpu_dot_merger_threshold_mb": 0,
    # In a scan over layers it computes a product that is saved twice: 3.6 ms of 35.6 in products.
    "xla_gpu_enable_dynamic_slice_fusion": False,
    # What a scan saves is written whole: filling it with zeros before takes 1.6 ms.
    "xla_gpu_enable_dus_accumulator_zero_init_elimination": True,
}


def step_options(platform: str) -> Options:
    """The options for `jax.jit(compiler_options=...)` of a training step's functions, as far as this XLA knows them."""
    return {name: value for name, value in GPU.items() if _known(name, value)} if platform == "gpu" else {}


@lru_cache
def _known(name: str, value: int | bool) -> bool:
    """Whether XLA takes the option: releases come and go with some."""
    try:
        jax.jit(jnp.negative, compiler_options={name: value}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
