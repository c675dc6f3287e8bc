"""The ops whose gradients are written out, against the same formulas left to jax's autodiff: forward and backward, CPU.

At the sizes of nanoGPT's CPU setting (12 rows of 64 tokens, d 128) and of 8 rows of 256 tokens, d 384; float32. Each
figure is our time over autodiff's, medians of turns; below 1 ours is faster. The one-pass loss and the
RMS norm's gradient are a GPU's alone: a CPU leaves both to autodiff.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
from harness import arguments, cpu, interleaved, write

from jaxgpt.ops.activations import gelu, gelu_tanh, silu
from jaxgpt.ops.normalize import layer_norm

EPS = 1e-5


def plain_layer_norm(x, scale):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(jnp.square(x - mean).mean(-1, keepdims=True) + EPS) * scale


ACTIVATIONS = {
    "gelu": (gelu, lambda x: jax.nn.gelu(x, approximate=False)),
    "gelu_tanh": (gelu_tanh, lambda x: jax.nn.gelu(x, approximate=True)),
    "silu": (silu, jax.nn.silu),
}
NORMS = {"layer_norm": (lambda x, scale: layer_norm(x, scale, None, EPS), plain_layer_norm)}
SIZES = {"small": (12, 64, 128), "d384": (8, 256, 384)}


def timed(function, operands):
    """A call that computes the function and its gradients, and waits for them."""

    def both(dy, *operands):
        out, pull = jax.vjp(function, *operands)
        return out, pull(dy)

    dy = operands[0]
    run = jax.jit(both).lower(dy, *operands).compile()
    return lambda: jax.block_until_ready(run(dy, *operands))


def main() -> None:
    options = arguments("written-out gradients over autodiff's, time on a CPU")
    figures = {}
    for size, (rows, length, width) in SIZES.items():
        cases = {name: (pair, (4 * width,), ()) for name, pair in ACTIVATIONS.items()}
        cases |= {name: (pair, (width,), (jnp.ones(width),)) for name, pair in NORMS.items()}
        for name, ((ours, plain), last, rest) in cases.items():
            x = jax.random.normal(jax.random.key(0), (rows, length, *last))
            calls = {"ours": timed(ours, (x, *rest)), "autodiff": timed(plain, (x, *rest))}
            took = interleaved(calls, 60 if options.quick else 200, warmup=5)
            figures[f"{name}_{size}_over_autodiff"] = took["ours"].median / took["autodiff"].median
    write(options, figures, cpu())


if __name__ == "__main__":
    main()
