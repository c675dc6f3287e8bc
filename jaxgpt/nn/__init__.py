"""Linen modules, one mechanism per file. They know no mesh, optimiser, loss or file."""

from jaxgpt.nn.moe import MoE

__all__ = ["MoE"]
