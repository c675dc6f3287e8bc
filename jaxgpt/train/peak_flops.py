"""What the devices could do at best."""

import time
from functools import lru_cache

import jax
import jax.numpy as jnp

from jaxgpt.parallel.chips import PEAK


def rated_flops() -> float | None:
    """FLOP/s of one device by its data sheet, in bf16 (also for float32 runs, whose MFU reads low); None for a CPU, of
    which no sheet is known, and for a device that is not in the table."""
    kind = jax.devices()[0].device_kind
    return next((PEAK[name] for name in sorted(PEAK, key=len, reverse=True) if kind.startswith(name)), None)


@lru_cache
def expected_flops(dtype: str) -> float | None:
    """`rated_flops`, or on a CPU the speed of a 1024³ matmul measured once: good for a guess, not for an MFU."""
    return _measured(dtype) if jax.default_backend() == "cpu" else rated_flops()


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
