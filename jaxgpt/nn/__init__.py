"""Linen modules, one mechanism per file. They know no mesh, optimiser, loss or file."""

from jaxgpt.nn.contrastive import Contrastive  # which nothing else imports, as MoE: they declare a kind
from jaxgpt.nn.moe import MoE
from jaxgpt.nn.task_head import TaskHead

__all__ = ["Contrastive", "MoE", "TaskHead"]
