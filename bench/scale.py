"""Every GPT-3 size, GPT-2 1.5B, a pipeline and a long context, each compiled for a slice of TPUs that is not there.

    python bench/scale.py --json bench/scale.json     # writes docs/scale.md too; `make .venv-tpu/installed` first

About a minute and a half of a core a row. A row is one `jaxgpt compile` in a process of its own, so that its memory is
its own, and is kept in runs/scale/: `--only "GPT-3 175B"` compiles that row and takes the others from there.
`--quick` compiles the smallest only and leaves docs/scale.md alone.
"""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import harness

ROOT = Path(__file__).resolve().parents[1]
PAGE, KEPT = ROOT / "docs/scale.md", ROOT / "runs/scale"
GB = 1e9
COMMON = (
    "exec.remat=block",
    "exec.layers=scan",
    "model.vocab_size=50304",
    "objective.chunk=all",
    "eval.batch_size=null",
)
RAMPLESS = ("batch_ramp=null",)


class Row(NamedTuple):
    """One compilation."""

    name: str
    config: str
    topology: str
    mesh: str
    changes: tuple[str, ...] = RAMPLESS


ROWS = [
    Row("GPT-2 1.5B", "gpt2/1558m", "v5e:4x4", "fsdp=16", ("objective.chunk=131072",)),
    Row("GPT-3 125M", "gpt3/125m", "v5e:4x4", "fsdp=16"),
    Row("GPT-3 350M", "gpt3/350m", "v5e:4x4", "fsdp=16"),
    Row("GPT-3 760M", "gpt3/760m", "v5e:4x8", "fsdp=32"),
    Row("GPT-3 1.3B", "gpt3/1.3b", "v5e:8x8", "fsdp=64"),
    Row("GPT-3 2.7B", "gpt3/2.7b", "v5p:4x4x4", "fsdp=64"),
    Row("GPT-3 6.7B", "gpt3/6.7b", "v5p:4x4x8", "fsdp=128"),
    Row("GPT-3 13B", "gpt3/13b", "v5p:4x8x8", "fsdp=256", (*RAMPLESS, "model.d_model=5120")),
    Row("GPT-3 175B", "gpt3/175b", "v5p:8x8x16", "fsdp=128,tensor=8", (*RAMPLESS, "batch_size=1536")),
    Row("GPT-3 13B, 4 stages", "gpt3/13b", "v5p:4x4x4", "pipeline=4,fsdp=16", (*RAMPLESS, "model.d_model=5120")),
    Row(
        "GPT-3 6.7B, 128k tokens",
        "gpt3/6.7b",
        "v5p:4x4x8",
        "fsdp=16,sequence=8",
        (*RAMPLESS, "model.context=131072", "batch_size=16", "model.pattern=causal"),
    ),
]
SMALLEST = ROWS[1]
DEPTHS = 12, 24, 48, 96
"""Layers of the model whose compile time is compared."""


def main() -> None:
    one = {"default": "", "metavar": "ROW", "help": "compile this row; the others are kept"}
    options = harness.arguments(__doc__, only=one)
    if find_spec("libtpu") is None:
        print("skipped: libtpu is not installed; make .venv-tpu/installed, then .venv-tpu/bin/python bench/scale.py")
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    rows = [*ROWS, *(deepened(depth) for depth in DEPTHS)]
    for row in [SMALLEST] if options.quick else rows:
        if options.only in ("", row.name):
            (KEPT / f"{row.name}.json").write_text(json.dumps(compiled(row), indent=1), encoding="utf-8")
    found = {
        row.name: json.loads(path.read_text(encoding="utf-8"))
        for row in rows
        if (path := KEPT / f"{row.name}.json").exists()
    }
    harness.write(options, figures(found), harness.cpu())
    if not options.quick:
        PAGE.write_text(page(found), encoding="utf-8")


def deepened(depth: int) -> Row:
    """GPT-3 125M with another depth."""
    return Row(f"depth {depth}", "gpt3/125m", "v5e:4x4", "fsdp=16", (*RAMPLESS, f"model.num_layers={depth}"))


def compiled(row: Row) -> dict[str, Any]:
    """The figures of `jaxgpt compile`, or `error` with its line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        words = [sys.executable, "-m", "jaxgpt.cli", "compile", str(ROOT / f"configs/{row.config}.yaml")]
        words += [*COMMON, *row.changes, "--topology", row.topology, "--mesh", row.mesh, "--json", str(path)]
        done = subprocess.run(words, capture_output=True, encoding="utf-8")
        print(f"{row.name}: {(done.stdout or done.stderr).strip()}\n", file=sys.stderr, flush=True)
        return json.loads(path.read_text(encoding="utf-8")) if done.returncode == 0 else {"error": done.stderr.strip()}


def figures(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Flat numbers, one name each."""
    out = {}
    for name, one in found.items():
        if "error" in one:
            continue
        key = "_".join(name.lower().replace(",", "").split())
        out |= {f"{key}_cpu_seconds": one["cpu_seconds"], f"{key}_seconds": took(one)}
        if not name.startswith("depth"):
            out |= {
                f"{key}_memory_share": one["memory_bytes"] / one["hbm_bytes"],
                f"{key}_step_seconds": one["prediction"]["step_seconds"],
                f"{key}_mfu": one["prediction"]["mfu"],
                f"{key}_mfu_apart": one["prediction"]["mfu_apart"],
                f"{key}_host_bytes": one["host_memory_bytes"],
            }
    deep = [out[name] for depth in DEPTHS if (name := f"depth_{depth}_cpu_seconds") in out]
    return out | ({"compile_growth": max(deep) / deep[0]} if len(deep) == len(DEPTHS) else {})


def took(one: dict[str, Any]) -> float:
    """Seconds to trace and compile."""
    return one["trace_seconds"] + one["compile_seconds"]


HEAD = """# Scale
What a training step needs on slices of TPUs, found without one. This page is written by
`.venv-tpu/bin/python bench/scale.py --json bench/scale.json` (`make .venv-tpu/installed` first). Each row is the real
step (`jaxgpt compile CONFIG --topology SLICE --mesh ...`), compiled by XLA for those chips.

- **Memory** is the compiler's own count for a chip, beside its HBM.
- **Step** and **MFU** are bounds; nothing is measured. Three terms: FLOPs at the chip's peak, bytes at its memory's
  bandwidth, collectives at its links'. The first step time is the longest of the three, if all overlap; in the second
  the network waits for the chip. A chip's figures are its maker's: `jaxgpt/parallel/chips.py` names the pages.
- **Seconds** (in brackets: of one core) and **host GB** are what compiling took here ({cpu}, which
  other programs shared; jax {jax}, libtpu {libtpu}).

Batches are the papers' in tokens. All rows recompute blocks (`exec.remat=block`), scan over layers, keep the logits
whole (`objective.chunk=all`; GPT-2 1.5B has them in four parts, or it would not fit) and pad the vocabulary to 50,304.
GPT-3 175B has 1,536 rows, 3.1M tokens, instead of 1,600, which 128 does not divide. 13B has d_model 5,120: the printed
5,140 is 4 x 5 x 257, which no mesh divides well.

| model | slice | chips | mesh | batch, tokens | memory, GB | of HBM | step, s | MFU | binds | seconds | host GB |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""
BINDS = """
## What binds
With small parts along `fsdp` XLA does two things that cost. On v5e it multiplies by a weight while the parts go around
(the many permutes) and keeps partial sums in main memory, which binds there. And what it prints as all-reduce in the
rows of 2.7B, 6.7B and 13B gathers weights too, as sums over zeros: twice the bytes of a gather.

| model | compute, s | memory, s | network, s | collectives: how many, GB |
|---|---|---|---|---|
"""
DEPTH = """
## Depth
Scanned layers compile once. GPT-3 125M's width on v5e:4x4, fsdp 16:

| layers | seconds to compile (of one core) |
|---|---|
"""


def page(found: dict[str, dict[str, Any]]) -> str:
    """docs/scale.md."""
    good = {name: one for name, one in found.items() if "error" not in one}
    text = HEAD.format(cpu=harness.cpu(), **next(iter(good.values()))["versions"])
    for row in ROWS:
        start = f"| {row.name} | {row.topology}"
        if row.name not in good:
            why = found.get(row.name, {"error": "not compiled yet"})["error"].removeprefix("error: ")
            text += f"{start} | | {row.mesh} | not available: {why} |\n"
            continue
        one = good[row.name]
        guess = one["prediction"]
        cells = [
            f"{one['chips']:,}",
            row.mesh.replace("=", " ").replace(",", " x "),
            f"{one['tokens']:,}",
            f"{one['memory_bytes'] / GB:.1f}",
            f"{one['memory_bytes'] / one['hbm_bytes']:.0%}",
            f"{guess['step_seconds']:.2f} to {guess['step_seconds_apart']:.2f}",
            f"{guess['mfu_apart']:.0%} to {guess['mfu']:.0%}",
            guess["binds"],
            f"{took(one):.0f} ({one['cpu_seconds']:.0f})",
            f"{one['host_memory_bytes'] / GB:.1f}",
        ]
        text += f"{start} | {' | '.join(cells)} |\n"
    text += BINDS
    for row in ROWS:
        if row.name in good:
            one = good[row.name]
            terms = " | ".join(
                f"{one['prediction'][f'{term}_seconds']:.2f}" for term in ("compute", "memory", "network")
            )
            spoken = "; ".join(
                f"{kind} {v['times']:,}, {v['bytes'] / GB:,.1f}" for kind, v in one["collectives"].items()
            )
            text += f"| {row.name} | {terms} | {spoken} |\n"
    deep = {depth: good[name] for depth in DEPTHS if (name := f"depth {depth}") in good}
    return (
        text
        + DEPTH
        + "".join(f"| {depth} | {took(one):.0f} ({one['cpu_seconds']:.0f}) |\n" for depth, one in deep.items())
    )


if __name__ == "__main__":
    main()
