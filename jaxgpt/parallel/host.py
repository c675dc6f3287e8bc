"""Settings of the host process."""

import ctypes
from functools import lru_cache

import jax

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
