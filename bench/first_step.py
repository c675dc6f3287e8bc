"""Seconds from the command to the end of the first training step, compilation cache cold and warm.

The command is `jaxgpt train configs/gpt2/shakespeare_char_cpu.yaml steps=1` on the standard library's source text,
whose token files are built beforehand. The end of the step is the time in the run's own events.jsonl.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import arguments, cpu, write

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs/gpt2/shakespeare_char_cpu.yaml"
OVERRIDES = (
    "data.corpus=stdlib",
    "tokenizer=byte",
    "model.vocab_size=null",
    "steps=1",
    "schedule.warmup=0",
    "data.val_tokens=768",
)
GOALS = {"cold_seconds": 12.0, "warm_seconds": 6.0}


def first_step(cache: Path, out: Path) -> float:
    """Seconds of one command in a process of its own."""
    environment = os.environ | {"JAXGPT_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}
    entry = "from jaxgpt.cli import main; main()"
    command = [sys.executable, "-c", entry, "train", str(CONFIG), *OVERRIDES, "--out", str(out)]
    start = time.time()
    subprocess.run(command, check=True, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    events = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return next(event["time"] for event in events if event["event"] == "first_step") - start


def main() -> None:
    options = arguments("seconds to the first training step")
    repeats = 1 if options.quick else 5
    times: dict[str, list[float]] = {name: [] for name in GOALS}
    with tempfile.TemporaryDirectory(prefix="jaxgpt-first-step-") as folder:
        cache = Path(folder) / "cache"
        building = first_step(cache, Path(folder) / "build")
        for index in range(repeats):
            shutil.rmtree(cache / "xla")
            times["cold_seconds"].append(first_step(cache, Path(folder) / f"cold_{index}"))
            times["warm_seconds"].append(first_step(cache, Path(folder) / f"warm_{index}"))
    figures = {name: statistics.median(took) for name, took in times.items()}
    write(options, figures | {"with_token_files_to_build_seconds": building}, cpu())
    for name, goal in GOALS.items():
        print(f"{name} {figures[name]:.1f} (goal <= {goal:.0f})")


if __name__ == "__main__":
    main()
