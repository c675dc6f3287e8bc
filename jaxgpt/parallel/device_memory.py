"""How much memory a device has for a program."""

import os

import jax


def memory_limit(device: jax.Device) -> int | None:
    """Bytes that programs on a device may take together; None where nobody says.

    A GPU or TPU tells what jax has reserved of it; a CPU's devices share the machine's memory.
    """
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats is not None and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    if device.platform != "cpu" or "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // jax.local_device_count()
