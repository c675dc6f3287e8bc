"""Settings of this process and of the CPU that it runs on."""

import contextlib
import ctypes
import os
from functools import lru_cache

import jax

_SPLIT = False

OPTION = "jax_cpu_enable_async_dispatch"
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameters of glibc's mallopt(3)."""


@lru_cache
def keep_freed_memory() -> bool:
    """Makes malloc keep what is freed; whether that could be done. On a CPU backend with glibc only.

    XLA:CPU takes the temporaries of every execution from malloc. By default glibc maps large ones afresh each time, and
    the kernel faults in and clears their pages, which is no small share of a small training step.
    """
    if jax.default_backend() != "cpu":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(
        mallopt(name, value) == 1
        for name, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26))
    )


def compute_inline() -> None:
    """Makes a CPU backend of one device compute on the thread that calls it. Takes effect only before jax has started
    its backend; JAX_CPU_ENABLE_ASYNC_DISPATCH in the environment rules.

    A thread of XLA's own takes temporaries from an arena of its own, whose heaps end at 64 MB: whatever is larger glibc
    maps afresh for each execution in spite of `keep_freed_memory`. The first thread's memory has no such end.
    """
    if OPTION.upper() not in os.environ and OPTION in jax.config.values:
        jax.config.update(OPTION, False)


def split_cpu() -> None:
    """Makes a CPU backend offer each core as a device, for runs that train side by side in one program.

    Takes effect only before jax has started its backend, and where no flag says how many there are. A single run keeps
    to one device: see `training_devices`.
    """
    global _SPLIT
    if (
        "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        or jax.config.values["jax_num_cpu_devices"] != -1
    ):
        return
    with contextlib.suppress(RuntimeError):  # the backend has started
        jax.config.update("jax_num_cpu_devices", _cores())
        _SPLIT = True


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def training_devices() -> list[jax.Device]:
    """The devices that one run's mesh takes: all, but of a CPU that was split only one, which has all its cores."""
    return jax.devices()[:1] if _SPLIT and jax.default_backend() == "cpu" else jax.devices()
