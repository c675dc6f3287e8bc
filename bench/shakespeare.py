"""Tiny Shakespeare by characters at nanoGPT's CPU setting: best validation loss, mean over 3 seeds.

nanoGPT prints 1.88 for this setting. Validation is a complete pass over the held-out tenth.
Needs the corpus: JAXGPT_DATA=<folder that holds tinyshakespeare/>.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import statistics
import tempfile
from pathlib import Path

from harness import arguments, cpu, shakespeare, write

from jaxgpt import run
from jaxgpt.runs import Run
from jaxgpt.spec import load_yaml

CONFIG = Path(__file__).parent.parent / "configs/gpt2/shakespeare_char_cpu.yaml"
GOAL = 1.89


def main() -> None:
    options = arguments("validation loss of configs/gpt2/shakespeare_char_cpu.yaml, mean of 3 seeds")
    shakespeare()
    seeds = range(1 if options.quick else 3)
    losses, seconds = [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            result = run(load_yaml(Run, CONFIG, {"seed": seed}), Path(folder) / f"seed{seed}")
        losses.append(result["best_val/loss"])
        seconds.append(result["seconds"])
    figures = {f"val_loss_seed{seed}": round(loss, 4) for seed, loss in zip(seeds, losses, strict=True)}
    figures["val_loss_mean"] = round(statistics.mean(losses), 4)
    if len(losses) > 1:
        figures["val_loss_sd"] = round(statistics.stdev(losses), 4)
    figures["seconds_a_run"] = round(statistics.median(seconds), 1)
    print(f"goal: val_loss_mean <= {GOAL}")
    write(options, figures, cpu())


if __name__ == "__main__":
    main()
