"""What XLA is asked besides its defaults, per program: a library that set XLA_FLAGS would decide for all others."""

from typing import Any

STEP: dict[str, dict[str, Any]] = {"gpu": {"xla_gpu_dot_merger_threshold_mb": 0}}
"""Of a training step, by platform. Products with the same operand merged into one would have their biases added, and
their gradients joined and cut, in passes of their own."""


def step_options(platform: str) -> dict[str, Any]:
    """The options for `jax.jit(compiler_options=...)` of a step's functions."""
    return dict(STEP.get(platform, {}))
