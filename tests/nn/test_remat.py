"""What a scan over layers saves for the backward pass."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxgpt.models import GPT2
from jaxgpt.ops.attention import BlockSparse, Chunked, Kernel

B, T, D, L = 2, 16, 8, 3


def loops(kernel: Kernel, **sizes: Any) -> list[Any]:
    """The loops over layers in the traced gradient of a small model: forward, then backward."""
    spec = GPT2(num_layers=L, d_model=D, num_heads=2, vocab_size=11, context=T, **sizes)
    model = spec.build(kernel, "bfloat16", "scan")
    tokens, params = jnp.zeros((B, T), jnp.int32), spec.shapes()

    def loss(params: Any) -> jax.Array:
        rngs = {"dropout": jax.random.key(0)}
        return model.apply({"params": params}, tokens, train=bool(sizes), rngs=rngs).astype(jnp.float32).sum()

    equations = jax.make_jaxpr(jax.grad(loss))(params).eqns
    return [each for each in equations if each.primitive.name == "scan" and each.params["length"] == L]


@pytest.mark.parametrize("sizes", [{}, {"dropout": 0.1}], ids=["plain", "dropout"])
def test_a_scan_saves_products_and_not_the_passes_between(sizes):
    forward, _ = loops(Chunked(), **sizes)
    saved = [var.aval for var in forward.outvars if var.aval.shape[:1] == (L,)]
    entries = sum(array.size for array in saved if array.dtype == jnp.bfloat16)
    # The input, q, k, v, attention's output (as such and as the kernel's own), o's product, and four of the first of
    # feed-forward: no outputs of norms or activations, no masks.
    assert entries == (1 + 3 + 2 + 1 + 4) * L * B * T * D
    rest = sum(array.size for array in saved if array.dtype != jnp.bfloat16)
    assert rest <= (4 + 2) * L * B * T + 4 * L, "statistics of two norms and log-sums of two heads; no weights"


@pytest.mark.parametrize("kernel", [Chunked(), BlockSparse()], ids=["chunked", "block_sparse"])
def test_the_backward_pass_of_a_scan_does_not_run_attention_again(kernel):
    forward, backward = (str(each.params["jaxpr"]) for each in loops(kernel))
    assert forward.count("remat_opt[") == 1
    assert "remat_opt[" not in backward
