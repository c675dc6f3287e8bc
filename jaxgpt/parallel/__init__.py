"""F2: mesh and sharding rule tables. They know paths and axes, not models."""

from jaxgpt.parallel.host import keep_freed_memory, split_cpu, training_devices
from jaxgpt.parallel.mesh import Mesh
from jaxgpt.parallel.rules import Rules, Standard, batch_sharding, shardings

__all__ = [
    "Mesh",
    "Rules",
    "Standard",
    "batch_sharding",
    "keep_freed_memory",
    "shardings",
    "split_cpu",
    "training_devices",
]
