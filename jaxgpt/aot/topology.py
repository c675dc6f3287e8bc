"""Devices of a TPU slice that is not there: libtpu describes them and compiles for them, without a TPU."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from jaxgpt.aot.link_time import Place
from jaxgpt.parallel.chips import Slice
from jaxgpt.spec import ConfigError, JaxgptError

NO_PROBING = {
    "TPU_SKIP_MDS_QUERY": "1",  # the metadata server of a cloud machine
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # must be one that exists; the topology's name is what counts
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no chip is opened, so two such processes do not collide
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "",  # those of this machine's own backends
}
"""The environment of a process that compiles for TPU. One of its own, because libtpu, once loaded, stays."""


def need_libtpu() -> None:
    """Raises JaxgptError, one line, where libtpu is not installed."""
    if find_spec("libtpu") is None:
        raise JaxgptError("libtpu is not installed, which compiles for TPU: pip install 'jaxgpt[tpu]'")


def slice_devices(topology: Slice) -> Sequence[Any]:
    """The chips of a slice as jax devices. Only in a process of its own, started with `NO_PROBING`. Raises ConfigError
    for a shape that the chip does not come in."""
    from jax.experimental import topologies

    slices = {"num_slices": topology.copies} if topology.copies > 1 else {}
    try:
        return topologies.get_topology_desc(topology.name, "tpu", **slices).devices
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"--topology: libtpu knows no '{topology.name}': {first}") from None


def places(devices: Sequence[Any], topology: Slice) -> list[Place]:
    """Where each stands. Chips of a flat torus have a third coordinate too, which is 0."""
    axes = len(topology.shape)
    return [Place(getattr(device, "slice_index", 0), tuple(device.coords[:axes])) for device in devices]
