"""Linen modules, one mechanism per file. They know no mesh, optimiser, loss or file."""

from jaxgpt.nn.moe import MoE  # which nothing else imports: `kind: moe` is declared by it

__all__ = ["MoE"]
