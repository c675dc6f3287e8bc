"""Linen modules, one mechanism per file. They know no mesh, optimiser, loss or file."""

from jaxgpt.nn.contrastive import Contrastive  # which nothing else imports, as MoE: they declare a kind
from jaxgpt.nn.moe import MoE

__all__ = ["Contrastive", "MoE"]
