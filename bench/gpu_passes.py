"""The passes over memory that XLA makes of a training step for an H200, by bytes, and its products, by FLOPs.

    python bench/gpu_passes.py CONFIG [a.b=c ...] [--text FILE] [--min-mb N]     # compiled here, without the card
    python bench/gpu_passes.py --read FILE.hlo[.gz]                             # a program that was compiled before

Nothing is run. Fusions, layouts, loops, bytes and the count of memory are the compiler's for the card. Not so: what
autotuning chooses (it is off, and cuBLAS stands in for Triton's products), what overlaps, and times. Bytes at a
bandwidth are a lower bound: in the step measured on 2026-11-28 passes took 1.4 times theirs (its GELU, bound by
arithmetic, 3 times). cuDNN's attention counts among the bytes only. Compare programs with these figures; then measure.
"""

import gzip
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h200
import harness
import jax

from jaxgpt.aot.hlo import Instruction, Module, array_bytes, elements, parse
from jaxgpt.aot.memory_traffic import moves

BANDWIDTH, PEAK = 4.2e12, 760e12
"""Bytes and bfloat16 FLOPs a second, as this project's steps on an H200 had them."""
FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"
SCRATCH = re.compile(r"(?:, )?\b[su]8\[\d+\]\{0\}")
"""A library's workspace, printed among the results of its call."""
LAYOUT = r"\{[^}]*\}"


class Pass(NamedTuple):
    """Instructions of one kind and shape: what they do in a step, loops multiplied."""

    calls: int
    read: int
    written: int
    flops: int
    what: str
    """`loop` where it stands in one, name or kernel, shapes of the results, and what it was traced from."""
    attention: bool

    @property
    def ms(self) -> float:
        """Of a product by its FLOPs, else by its bytes: at least what it takes."""
        return 1e3 * (self.flops / PEAK if self.flops else (self.read + self.written) / BANDWIDTH)


def main() -> None:
    more: dict[str, dict[str, Any]] = {
        "text": {"type": Path, "metavar": "FILE", "help": "where the optimised program goes"},
        "min-mb": {"type": float, "default": 20.0, "metavar": "N", "help": "passes that move less are summed up"},
        "read": {"type": Path, "metavar": "FILE", "help": "a program's text: nothing is compiled"},
    }
    words = {"nargs": "*", "metavar": "CONFIG a.b=c", "help": "a config and what is changed of it"}
    options = harness.arguments(__doc__, timed=False, words=words, **more)
    if bool(options.words) == (options.read is not None):
        raise SystemExit("error: give a CONFIG or --read FILE")
    if options.read is not None:
        with (gzip.open if options.read.suffix == ".gz" else open)(options.read, "rt", encoding="utf-8") as file:
            text, figures = file.read(), {}
    elif wheels := h200.missing():
        print(f"skipped: no CUDA plugin; pip install --no-deps {' '.join(wheels)}")
        return
    else:
        text, figures = compiled(Path(options.words[0]), options.words[1:])
    if options.text is not None:
        options.text.write_text(text, encoding="utf-8")
    harness.write(options, table(passes(text), options.min_mb) | figures, f"none: for an H200, on {harness.cpu()}")


def compiled(config: Path, changes: list[str]) -> tuple[str, dict[str, float]]:
    """The optimised program of a config's step on one H200, and what compiling it says."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
    jax.config.update("jax_platforms", "cpu")
    from jaxgpt.parallel.compiler_options import step_options
    from jaxgpt.runs.objective_run import ObjectiveRun
    from jaxgpt.spec import load_yaml
    from jaxgpt.train.compiled_step import compile_step
    from jaxgpt.train.fitting import fitted

    devices = h200.devices()
    platform = devices[0].platform
    print(f"for {devices[0].device_kind} ({platform}), with", *(f"{k}={v}" for k, v in step_options(platform).items()))
    run, programs, measured, facts = fitted(load_yaml(ObjectiveRun, config, changes), int(h200.MEMORY), devices)
    print("logits at once:", facts.get("chunk") or "all")
    step = measured or compile_step(run, programs)
    memory = step.executable.memory_analysis()
    return step.executable.as_text(), {
        "temporaries_gb": memory.temp_size_in_bytes / 1e9,
        "argument_gb": memory.argument_size_in_bytes / 1e9,
        "compile_seconds": step.compile_seconds,
    }


def passes(text: str) -> list[Pass]:
    """What a program moves and multiplies, alike instructions together, those that move most first."""
    module = parse(text)
    groups: dict[str, Pass] = {}
    for where, line, times, (read, written) in moves(module):
        kernel = re.search(r'custom_call_target="([^"]*)"', line.rest)
        flops = sum(products(module, where, line))
        if kernel or flops:
            written -= array_bytes(" ".join(SCRATCH.findall(line.shape)))
        if read + written == 0 or (kernel and kernel[1] == "AllocateBuffer"):
            continue
        name = kernel[1] if kernel else re.sub(r"[.\d]+$", "", line.name)
        result = elements(line.shape)[1] if line.opcode.endswith("-start") else line.shape
        key = f"{'loop ' if times > 1 else ''}{name} {re.sub(LAYOUT, '', SCRATCH.sub('', result))[:80]}"
        path = re.search(r'op_name="([^"]*)"', line.rest)
        old = groups.get(key) or Pass(0, 0, 0, 0, f"{key} | {path[1][-60:] if path else ''}", "fmha" in name)
        new = (old.calls + times, old.read + times * read, old.written + times * written, old.flops + times * flops)
        groups[key] = Pass(*new, old.what, old.attention)
    return sorted(groups.values(), key=lambda row: -(row.read + row.written))


def products(module: Module, where: str, line: Instruction) -> Iterator[int]:
    """FLOPs of each matrix product that an instruction is or, a fusion, holds: 2 x result's size x what is summed."""
    axes = re.search(r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d,"]*)', line.rest)
    if axes and (line.opcode == "dot" or "$matmul" in line.rest):
        left = sizes(next(other.shape for other in module.computations[where] if other.name == line.operands[0]))
        summed = math.prod(left[int(axis)] for axis in re.findall(r"\d+", axes[1]))
        yield 2 * summed * math.prod(sizes(elements(line.shape)[0]))
    inner = line.called("calls") if line.opcode.startswith("fusion") else None
    for part in module.computations.get(inner or "", ()):
        yield from products(module, str(inner), part)


def sizes(shape: str) -> list[int]:
    """`bf16[8,128]{1,0}` -> [8, 128]."""
    return [int(size) for size in re.findall(r"\d+", shape.partition("[")[2].partition("]")[0])]


def table(rows: list[Pass], least: float) -> dict[str, float]:
    """Prints the passes of `least` MB and more; the figures of all."""
    print(f"{'calls':>6} {'read MB':>9} {'write MB':>9} {'ms, least':>9}  what")
    for row in rows:
        if row.read + row.written >= least * 1e6:
            print(f"{row.calls:6d} {row.read / 1e6:9.1f} {row.written / 1e6:9.1f} {row.ms:9.2f}  {row.what}")
    rest = sum(row.ms for row in rows if row.read + row.written < least * 1e6)
    print(f"kinds that move less than {least:g} MB: {rest:.2f} ms together")
    return {
        "read_gb": sum(row.read for row in rows) / 1e9,
        "written_gb": sum(row.written for row in rows) / 1e9,
        "passes_ms_at_4.2TBs": sum(row.ms for row in rows if not row.flops and not row.attention),
        "products_ms_at_760T": sum(row.ms for row in rows if row.flops),
    }


if __name__ == "__main__":
    main()
