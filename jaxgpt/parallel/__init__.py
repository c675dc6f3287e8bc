"""Mesh and sharding rule tables. They know paths and axes, not models."""

from jaxgpt.parallel.assignment import Split, placement_of, shardings, split
from jaxgpt.parallel.mesh import ROWS, Mesh
from jaxgpt.parallel.rules import Experts, Megatron, Product, Replicated, Rules, Stages, Standard, Zero
from jaxgpt.parallel.this_host import compute_inline, keep_freed_memory, split_cpu, training_devices

__all__ = [
    "ROWS",
    "Experts",
    "Megatron",
    "Mesh",
    "Product",
    "Replicated",
    "Rules",
    "Split",
    "Stages",
    "Standard",
    "Zero",
    "compute_inline",
    "keep_freed_memory",
    "placement_of",
    "shardings",
    "split",
    "split_cpu",
    "training_devices",
]
