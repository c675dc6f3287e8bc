"""Eight LoRA runs, four seeds at two learning rates, on one frozen base: fused, and one after another.

The base is the Shakespeare CPU model (4 layers, d 128) after a few steps; each run trains rank 8 on q and v. Total
wall-clock time of whole runs, compiling and validation included, process start, the base and imports not. The two take
turns in pairs of runs, each in a process of its own. `--quick` trains a quarter of the steps.
Needs the corpus: JAXGPT_DATA=<folder that holds tinyshakespeare/>.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import sys
import tempfile
from pathlib import Path
from typing import Any

from fused import CONFIG
from harness import arguments, cpu, seconds, shakespeare, write
from peer import Peer, serve

RATES, SEEDS, PAIR, GOAL = (1e-3, 3e-3), 4, 2, 0.6
PLAIN = {"exec.compilation_cache": False, "exec.save_every": None, "exec.keep_best": False}
LORA = {"kind": "lora", "rank": 8, "alpha": 16}


def runs(base: str, steps: int) -> list[Any]:
    """The eight."""
    from jaxgpt.runs import Run
    from jaxgpt.spec import load_yaml

    fields = PLAIN | {"steps": steps, "start": base, "model.adapter": LORA}
    return [load_yaml(Run, CONFIG, fields | {"optim.lr": rate, "seed": s}) for rate in RATES for s in range(SEEDS)]


def side(fused: bool, base: str, steps: int) -> None:
    """Answers `pair FIRST` with the seconds that runs FIRST and FIRST + 1 took, and their mean last loss."""
    from jaxgpt.parallel import split_cpu

    if fused:
        split_cpu()
    from jaxgpt import run
    from jaxgpt.train.fused.loop import run_fused

    specs, folder = runs(base, steps), Path(tempfile.mkdtemp(prefix="jaxgpt-bench-"))

    def train(first: int) -> list[float]:
        outs = [folder / f"run{index}" for index in range(first, first + PAIR)]
        both = specs[first : first + PAIR]
        if fused:
            return [result["val/loss"] for result in run_fused(both, outs, quiet=True)]
        return [run(spec, out, quiet=True)["val/loss"] for spec, out in zip(both, outs, strict=True)]

    def pair(word: str, first: int) -> dict[str, float]:
        losses: list[float] = []
        took = seconds(lambda: losses.extend(train(first)))
        return {"seconds": took, "loss": sum(losses) / PAIR}

    serve(pair)


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1] in ("true", "false"):
        side(sys.argv[1] == "true", sys.argv[2].strip('"'), int(sys.argv[3]))
        return
    options = arguments("wall-clock time of eight LoRA runs on one base: fused, and in sequence")
    shakespeare()
    steps = 200 if options.quick else 800
    with tempfile.TemporaryDirectory() as folder:
        base = str(Path(folder) / "base")
        begin(base)
        spent = {"fused": 0.0, "sequential": 0.0}
        with Peer("fused_lora.py", True, base, steps) as fused, Peer("fused_lora.py", False, base, steps) as sequential:
            for first in range(0, len(RATES) * SEEDS, PAIR):
                for name, peer in (("fused", fused), ("sequential", sequential)):
                    answer = peer.ask("pair", first)
                    spent[name] += answer["seconds"]
                    print(f"runs {first} and {first + 1}, {name}: {answer['seconds']:.1f} s", flush=True)
    figures = {
        "fused_over_sequential": spent["fused"] / spent["sequential"],
        **{f"{name}_seconds": took for name, took in spent.items()},
        "steps_a_run": float(steps),
    }
    write(options, figures, cpu())
    print(f"fused_over_sequential {figures['fused_over_sequential']:.3f} (goal <= {GOAL})")


def begin(base: str) -> None:
    """A base that has learned something, in `base`."""
    from jaxgpt import run
    from jaxgpt.runs import Run
    from jaxgpt.spec import load_yaml

    run(load_yaml(Run, CONFIG, PLAIN | {"steps": 50}), Path(base), quiet=True)


if __name__ == "__main__":
    main()
