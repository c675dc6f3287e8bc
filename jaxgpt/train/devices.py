"""What the devices could do at best: the denominator of MFU."""

import time
from functools import lru_cache

import jax
import jax.numpy as jnp

from jaxgpt.parallel.chips import PEAK


@lru_cache
def peak_flops(dtype: str) -> float | None:
    """FLOP/s of one device. Datasheet peak in bf16 (also for float32 runs, whose MFU reads low); on a CPU the speed of
    a 1024³ matmul measured once; None for a device that is not in the table."""
    kind = jax.devices()[0].device_kind
    if jax.default_backend() == "cpu":
        return _measured(dtype)
    return next((PEAK[name] for name in sorted(PEAK, key=len, reverse=True) if kind.startswith(name)), None)


def _measured(dtype: str) -> float:
    x = jnp.ones((1024, 1024), dtype)
    matmul = jax.jit(jnp.matmul)
    matmul(x, x).block_until_ready()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        matmul(x, x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best
