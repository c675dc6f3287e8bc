"""Does unsupervised SimCSE raise STS? A small BERT from scratch, five seeds; simcse_minilm.py starts from real weights.

JAXGPT_DATA names the folder that holds stsb_en/, lambada/ and wikitext2/. Runs go to runs/bench/simcse and are
continued, not repeated. Scores are Spearman times 100 on STS-B's dev part, before and after.
"""

import os
import statistics
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from harness import arguments, cpu, write
from scipy.stats import ttest_rel

from jaxgpt import run
from jaxgpt.runs import Run
from jaxgpt.spec import load_yaml

ROOT = Path(__file__).parent.parent
OUT = Path("runs/bench/simcse")


def scratch(seeds: int) -> dict[str, float]:
    """Masked language model, then SimCSE from its weights."""
    before, after = [], []
    for seed in range(seeds):
        first = load_yaml(Run, ROOT / "configs/bert/small_cpu.yaml", [f"seed={seed}"])
        before.append(run(first, OUT / f"bert/s{seed}")["val/sts"])
        given = [f"seed={seed}", f"start={OUT}/bert/s{{seed}}", f"tokenizer.path={OUT}/bert/s0/tokenizer"]
        then = load_yaml(Run, ROOT / "configs/simcse/small_cpu.yaml", given)
        after.append(run(then, OUT / f"simcse/s{seed}")["val/sts"])
        print(f"seed {seed}: {before[-1]:.2f} -> {after[-1]:.2f}", flush=True)
    figures = {"scratch_before": statistics.mean(before), "scratch_after": statistics.mean(after), "seeds": seeds}
    if seeds > 1:
        gains = [b - a for a, b in zip(before, after, strict=True)]
        figures |= {"scratch_before_sd": statistics.stdev(before), "scratch_after_sd": statistics.stdev(after)}
        figures |= {"scratch_gain_sd": statistics.stdev(gains), "scratch_p": float(ttest_rel(after, before).pvalue)}
    return figures


def main() -> None:
    options = arguments("STS-B before and after unsupervised SimCSE, from scratch", timed=False)
    if not (Path(os.environ.get("JAXGPT_DATA", ".")) / "stsb_en").exists():
        print("skipped: no stsb_en here; set JAXGPT_DATA to the folder that holds it")
        return
    write(options, scratch(1 if options.quick else 5), cpu())


if __name__ == "__main__":
    main()
