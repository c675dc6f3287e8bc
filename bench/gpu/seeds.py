"""32 seeds of configs/gpt2/shakespeare_char_cpu.yaml: fused in one program, and one after another.

Whole runs, validation included, by the loops that `jaxgpt ablate` uses. Each way runs twice, and the second time has
nothing to compile: `over_sequential` is of that. One after another, four seeds stand for all.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxgpt
from gpu.corpus import need_shakespeare
from gpu.part import Report
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import load_yaml
from jaxgpt.train.fused.loop import run_fused

CONFIG = Path(__file__).parents[2] / "configs/gpt2/shakespeare_char_cpu.yaml"
TINY = {"model.num_layers": 1, "model.d_model": 16, "model.context": 16, "steps": 4}


def measure(report: Report) -> None:
    """Seconds of both ways, for as many seeds."""
    need_shakespeare()
    lanes, alone = (3, 1) if report.small else (32, 4)
    folder = Path(tempfile.mkdtemp(prefix="jaxgpt-bench-"))

    def runs(first: int, count: int, name: str) -> tuple[list[Any], list[Path]]:
        fields = {"exec.save_every": None, "exec.keep_best": False} | (TINY if report.small else {})
        seeds = range(first, first + count)
        specs = [load_yaml(ObjectiveRun, CONFIG, fields | {"seed": seed}) for seed in seeds]
        return specs, [folder / f"{name}{seed}" for seed in seeds]

    def fused(first: int) -> list[Any]:
        return run_fused(*runs(first, lanes, "fused"), quiet=True)

    def sequential(first: int) -> list[Any]:
        pairs = zip(*runs(first, alone, "alone"), strict=True)
        return [jaxgpt.run(spec, out, quiet=True) for spec, out in pairs]

    losses = {}
    for name, call in (("fused", fused), ("sequential", sequential)):
        report.at(f"{name}, with compiling")
        first, losses[name] = timed(call, 0)
        report.figure(f"{name}_first_seconds", first)
    report.figure("fused_val_loss", sum(r["val/loss"] for r in losses["fused"]) / lanes)
    report.figure("sequential_val_loss", sum(r["val/loss"] for r in losses["sequential"]) / alone)
    report.at("fused")
    together, _ = timed(fused, lanes)
    report.at("sequential")
    each = timed(sequential, lanes)[0] / alone
    report.figure("fused_seconds", together)
    report.figure("sequential_seconds", each * lanes)
    report.figure("over_sequential", each * lanes / together)


def timed(call: Callable[[int], list[Any]], first: int) -> tuple[float, list[Any]]:
    start = time.perf_counter()
    results = call(first)
    return time.perf_counter() - start, results
