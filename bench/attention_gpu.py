"""Attention on a GPU: every kernel against float64, then cuDNN's band against cuDNN's dense kernel, bfloat16.

    python bench/attention_gpu.py --json FILE

One row, 8 heads of width 128, window 1024; strided and fixed (l 128, c 32) on `block_sparse` and, like dilated (512
positions, 8 apart), on `cudnn_parts`. Times are medians of 20 blocks of calls after warm-up, compiling apart.
Correctness comes first: a kernel that is wrong ends the script.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import arguments, interleaved, write

from jaxgpt.ops.attention import BlockSparse, Chunked, Cudnn, CudnnParts, Kernel, Reference, Scores, Side, case_of_call
from jaxgpt.ops.patterns import Banded, Causal, Dilated, Fixed, GlobalWindow, Pattern, Sinks, Strided

HEADS, WIDTH, CALLS = 8, 128, 10
BAND, STRIDED, FIXED = Banded(window=1024), Strided(stride=128), Fixed(stride=128, summary=32)
DILATED, SINKS, GLOBAL = Dilated(window=512, dilation=8), Sinks(window=1024), GlobalWindow(window=256, count=16)


def arrays(length: int, dtype: Any) -> tuple[jax.Array, ...]:
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.standard_normal((1, HEADS, length, WIDTH)), dtype) for _ in range(4))


def both(kernel: Kernel, pattern: Pattern, length: int) -> Callable[..., Any]:
    """(q, k, v, do) -> output and gradients."""
    at = np.arange(length, dtype=np.int32)

    def run(q: Any, k: Any, v: Any, do: Any) -> Any:
        out, pull = jax.vjp(lambda *x: kernel.attend(*x, Scores(pattern, Side(at), Side(at), numbering="row")), q, k, v)
        return (out, *pull(do))

    return run


def exact(pattern: Pattern, held: tuple[jax.Array, ...]) -> tuple[np.ndarray, ...]:
    """The same in numpy, float64."""
    q, k, v, do = (np.asarray(x.astype(jnp.float32), np.float64) for x in held)
    at = np.arange(q.shape[2])
    s = np.where(pattern.allows(at[:, None], at[None, :]), q @ k.swapaxes(2, 3) / WIDTH**0.5, -np.inf)
    w = np.exp(s - s.max(-1, keepdims=True))
    w /= w.sum(-1, keepdims=True)
    dw = do @ v.swapaxes(2, 3)
    ds = w * (dw - (w * dw).sum(-1, keepdims=True)) / WIDTH**0.5
    return w @ v, ds @ k, ds.swapaxes(2, 3) @ q, w.swapaxes(2, 3) @ do


def correctness(length: int = 2048) -> dict[str, float]:
    """The largest error of any output or gradient, as a share of that array's largest value."""
    figures = {}
    for dtype, goal in ((jnp.float32, 1e-4), (jnp.bfloat16, 2e-2)):
        held = arrays(length, dtype)
        for pattern in (Causal(), BAND, STRIDED, FIXED, DILATED, SINKS, GLOBAL):
            want = exact(pattern, held)
            for kernel in (Cudnn(), CudnnParts(), BlockSparse(), Reference(), Chunked()):
                q, k, *_ = held
                if kernel.refusal(case_of_call(q, k, Scores(pattern, Side(q), Side(q), numbering="row"))):
                    continue
                with jax.default_matmul_precision("highest"):
                    got = jax.jit(both(kernel, pattern, length))(*held)
                errors = [
                    np.abs(np.asarray(a, np.float64) - b).max() / np.abs(b).max()
                    for a, b in zip(got, want, strict=True)
                ]
                name = f"error_{kernel.kind}_{pattern.kind}_{held[0].dtype.name}"
                figures[name] = max(errors)
                print(f"{name} {max(errors):.2g}", flush=True)
                assert max(errors) <= goal, f"{name}: {max(errors)} exceeds {goal}"
    return figures


def timed(call: Callable[..., Any], held: tuple[jax.Array, ...]) -> Callable[[], Any]:
    run = jax.jit(call).lower(*held).compile()

    def many() -> None:
        for _ in range(CALLS):
            out = run(*held)
        jax.block_until_ready(out)

    return many


def speed(length: int, rounds: int) -> dict[str, float]:
    held = arrays(length, jnp.bfloat16)
    cases = {
        "cudnn_dense": (Cudnn(), Causal()),
        "cudnn_banded": (Cudnn(), BAND),
        "block_sparse_banded": (BlockSparse(), BAND),
        "block_sparse_strided": (BlockSparse(), STRIDED),
        "block_sparse_fixed": (BlockSparse(), FIXED),
        "cudnn_parts_strided": (CudnnParts(), STRIDED),
        "cudnn_parts_fixed": (CudnnParts(), FIXED),
        "cudnn_parts_dilated": (CudnnParts(), DILATED),
    }
    at, calls = np.arange(length, dtype=np.int32), {}
    for name, (kernel, pattern) in cases.items():
        scores = Scores(pattern, Side(at), Side(at), numbering="row")
        calls[f"{name}_forward"] = timed(lambda q, k, v, n=kernel, s=scores: n.attend(q, k, v, s), held[:3])
        calls[f"{name}_both"] = timed(both(kernel, pattern, length), held)
    median = {name: t.median / CALLS for name, t in interleaved(calls, rounds, warmup=2).items()}
    figures = {f"{name}_ms_{length}": 1000 * seconds for name, seconds in median.items()}
    for part in ("forward", "both"):
        for name in cases:
            figures[f"{name}_speedup_{part}_{length}"] = median[f"cudnn_dense_{part}"] / median[f"{name}_{part}"]
    return figures


def main() -> None:
    options = arguments("attention kernels on a GPU: errors against float64, then times")
    if jax.default_backend() != "gpu":
        print("skipped: no GPU here")
        raise SystemExit(0)
    figures = correctness()
    for length in (8192, 16384, 32768):
        figures |= speed(length, 5 if options.quick else 20)
    write(options, figures, jax.devices()[0].device_kind)
    for length, goal in ((8192, 1.9), (16384, 4.3), (32768, 9)):
        got = figures[f"cudnn_banded_speedup_forward_{length}"]
        print(f"cudnn band over dense, forward, {length}: {got:.2f}x (goal {goal})")


if __name__ == "__main__":
    main()
