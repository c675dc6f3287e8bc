"""Sparse against dense attention on a CPU, forward and backward, float32: time and memory over the length.

One row, 2 heads of width 64. Dense is our own `reference` kernel, which materialises the scores, and `chunked`, which
does not; sparse is `block_sparse` for a band of 256 and for Child et al.'s strided and fixed patterns (l 128, c 32).
Kernels take turns within a length. Memory is what the compiled program holds at once: arguments, results, temporaries.
Then a 6-layer model with GPT-3's alternation trains at context 4096 against the same model with dense layers only.
Beside the JSON file a picture of the same name is drawn.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from harness import arguments, cpu, interleaved, write

from jaxgpt.ops.attention import BlockSparse, Chunked, Kernel, Reference, Scores, Side
from jaxgpt.ops.patterns import Banded, Causal, Fixed, Pattern, Strided, mean_keys
from jaxgpt.parallel import keep_freed_memory
from jaxgpt.runs import Run
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.spec import parse
from jaxgpt.train.program import hyper, program

HEADS, WIDTH = 2, 64
LONGEST_REFERENCE = 16384
CASES: dict[str, tuple[Kernel, Pattern]] = {
    "dense_reference": (Reference(), Causal()),
    "dense_chunked": (Chunked(), Causal()),
    "banded": (BlockSparse(), Banded(window=256)),
    "strided": (BlockSparse(), Strided(stride=128)),
    "fixed": (BlockSparse(), Fixed(stride=128, summary=32)),
}
LABELS = {
    "dense_reference": "dense, reference",
    "dense_chunked": "dense, chunked",
    "banded": "banded, window 256",
    "strided": "strided, l 128",
    "fixed": "fixed, l 128, c 32",
}


class Measured(NamedTuple):
    seconds: float
    bytes: int


def compiled(kernel: Kernel, pattern: Pattern, length: int) -> tuple[Callable[[], Any], int]:
    """A call that runs forward and backward once, and the bytes its program holds."""
    rng = np.random.default_rng(0)
    q, k, v, do = (jnp.asarray(rng.standard_normal((1, HEADS, length, WIDTH)), jnp.float32) for _ in range(4))
    at = np.arange(length, dtype=np.int32)

    def both(q: Any, k: Any, v: Any, do: Any) -> Any:
        out, pull = jax.vjp(lambda *x: kernel.attend(*x, Scores(pattern, Side(at), Side(at), numbering="row")), q, k, v)
        return out, pull(do)

    run = jax.jit(both).lower(q, k, v, do).compile()
    memory = run.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return lambda: jax.block_until_ready(run(q, k, v, do)), held


def measure(length: int, rounds: int) -> dict[str, Measured]:
    calls, held = {}, {}
    for name, (kernel, pattern) in CASES.items():
        if name != "dense_reference" or length <= LONGEST_REFERENCE:
            calls[name], held[name] = compiled(kernel, pattern, length)
    times = interleaved(calls, rounds, warmup=1)
    print(f"T {length}: " + ", ".join(f"{name} {1000 * t.median:.1f} ms" for name, t in times.items()), flush=True)
    return {name: Measured(times[name].median, held[name]) for name in calls}


def train_step(pattern: list[Any], kernel: str = "auto") -> tuple[Callable[[], Any], dict[str, str]]:
    """A call that makes one update of a 6-layer model at context 4096, and the kernels it runs on."""
    size = {"num_layers": 6, "d_model": 64, "num_heads": 8, "context": 4096, "vocab_size": 256}
    tree = {"model": {"kind": "gpt3", **size, "pattern": pattern}, "tokenizer": "byte", "batch_size": 1, "steps": 10}
    run = parse(Run, tree | {"optim": {"kind": "adamw", "lr": 1e-3}, "exec": {"kernel": kernel}})
    done = program(run)
    ids = np.random.default_rng(0).integers(0, 256, (1, 4097), np.int32)
    rows = {"tokens": ids[:, :-1], "targets": ids[:, 1:]}
    batch = jax.device_put(rows, done.batch_shardings(rows))
    values = hyper(run)
    state = done.init(jax.random.key(0), values)

    def step() -> None:
        nonlocal state
        state, _ = done.step(state, batch, jax.random.key(1), values)
        jax.block_until_ready(state)

    return step, kernels(run)


def alternation(rounds: int) -> dict[str, float]:
    """Tokens/s of GPT-3's alternation over all-dense, both on the kernels that `auto` picks."""
    band = {"kind": "banded", "window": 256}
    none = {"kind": "banded", "window": 1}  # attention to the own position alone: what a step costs besides attention
    steps = {"alternating": train_step(["causal", band]), "dense": train_step(["causal"]), "none": train_step([none])}
    print({name: chosen for name, (_, chosen) in steps.items()}, flush=True)
    times = {name: t.median for name, t in interleaved({n: s for n, (s, _) in steps.items()}, rounds, 1).items()}
    saved = 1 - (mean_keys(Causal(), 4096) + mean_keys(Banded(window=256), 4096)) / (2 * mean_keys(Causal(), 4096))
    return {
        "alternating_speedup": times["dense"] / times["alternating"],
        "alternating_speedup_cap": 2.0,
        "alternating_attention_pairs_saved": saved,
        "attention_share_of_dense_step": 1 - times["none"] / times["dense"],
        **{f"step_{name}_ms": 1000 * seconds for name, seconds in times.items()},
    }


def picture(found: dict[int, dict[str, Measured]], path: Path) -> None:
    """Time and memory over the length, one line a case."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    colours = ("#333333", "#888888", "#0072b2", "#d55e00", "#009e73")
    for (name, label), colour in zip(LABELS.items(), colours, strict=True):
        at = [length for length in found if name in found[length]]
        style = {"marker": "o", "label": label, "color": colour, "markersize": 4}
        axes[0].loglog(at, [1000 * found[length][name].seconds for length in at], **style)
        axes[1].loglog(at, [found[length][name].bytes / 2**20 for length in at], **style)
    for axis, title in zip(axes, ("milliseconds, forward and backward", "MiB held by the program"), strict=True):
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xticks(list(found), [f"{length // 1024}k" for length in found], minor=False)
        axis.minorticks_off()
        axis.set_xlabel("tokens in a row")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    options = arguments("attention forward and backward, dense against sparse, and a model that alternates")
    keep_freed_memory()  # as `jaxgpt train` does
    lengths = (1024, 4096, 8192, 16384) if options.quick else (1024, 2048, 4096, 8192, 16384, 32768)
    found = {length: measure(length, 3 if length >= 8192 or options.quick else 7) for length in lengths}
    figures: dict[str, float] = {}
    for length in (4096, 8192, 16384):
        for name in ("banded", "strided", "fixed", "dense_chunked"):
            figures[f"{name}_speedup_{length}"] = found[length]["dense_reference"].seconds / found[length][name].seconds
    dense, chunked = found[8192]["dense_reference"], found[8192]["dense_chunked"]
    figures["chunked_time_ratio_8192"] = chunked.seconds / dense.seconds
    figures["chunked_memory_ratio_8192"] = chunked.bytes / dense.bytes
    for name in CASES:
        for length in found:
            if name in found[length]:
                figures[f"{name}_ms_{length}"] = 1000 * found[length][name].seconds
                figures[f"{name}_bytes_a_token_{length}"] = found[length][name].bytes / length
    first, last = 4096, max(found)
    for name in ("banded", "strided", "fixed", "dense_chunked"):
        growth = (found[last][name].bytes / last) / (found[first][name].bytes / first)
        figures[f"{name}_bytes_a_token_growth_{first}_to_{last}"] = growth
    figures |= alternation(3 if options.quick else 5)
    write(options, figures, cpu())
    if options.json is not None:
        picture(found, options.json.with_suffix(".png"))
    print(
        f"banded {figures['banded_speedup_4096']:.1f}x at 4096 (goal 8), "
        f"{figures['banded_speedup_16384']:.1f}x at 16384 (goal 24)"
    )
    print(f"alternating {figures['alternating_speedup']:.2f}x (goal 1.5, cap 2)")


if __name__ == "__main__":
    main()
