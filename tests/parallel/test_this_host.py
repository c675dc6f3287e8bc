"""Temporaries of a CPU's program stay mapped from one execution to the next."""

import os
import subprocess
import sys

import pytest

CHILD = """
import resource, sys
import jax, jax.numpy as jnp
from jaxgpt.parallel import compute_inline, keep_freed_memory
if sys.argv[1] == "as in training":
    compute_inline()
if not keep_freed_memory():
    print("no glibc"); raise SystemExit
many = jax.jit(lambda x: jnp.outer(x, x) @ x)  # an array of 100 MB in between
x = jnp.zeros(5000)
counts = []
for _ in range(9):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    many(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(counts) * resource.getpagesize())
"""


def faulted(how):
    """Bytes that an execution maps afresh, the least of nine."""
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}  # one device, as for a user
    done = subprocess.run(
        [sys.executable, "-c", CHILD, how], env=env, capture_output=True, encoding="utf-8", check=True
    )
    if done.stdout.strip() == "no glibc":
        pytest.skip("malloc here has no such settings")
    return float(done.stdout)


def test_training_maps_no_memory_afresh():
    assert faulted("as in training") < 2**22
