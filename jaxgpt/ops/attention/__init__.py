"""Attention kernels: how a pattern is computed. Any pattern runs on `reference`."""

from jaxgpt.ops.attention.kernel import Kernel, Scores
from jaxgpt.ops.attention.reference import Reference

__all__ = ["Kernel", "Reference", "Scores"]
