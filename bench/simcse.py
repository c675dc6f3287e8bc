"""Does unsupervised SimCSE raise STS? A small BERT from scratch, and all-MiniLM-L6-v2, five seeds each.

JAXGPT_DATA names the folder that holds stsb_en/, lambada/ and wikitext2/; JAXGPT_MINILM that of MiniLM's weights (see
bench/minilm.py), without which that part is left out. Runs go to runs/bench/simcse and are continued, not repeated.
Scores are Spearman times 100: from scratch on STS-B's dev part, before and after; MiniLM on its test part.
"""

import os
import statistics
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from harness import arguments, cpu, write
from scipy.stats import ttest_rel

import jaxgpt
from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.spec import apply_overrides, load_yaml, parse
from jaxgpt.train import Run, run

ROOT = Path(__file__).parent.parent
OUT = Path("runs/bench/simcse")
MINILM = {
    "model": {
        "kind": "bert",
        "num_layers": 6,
        "d_model": 384,
        "num_heads": 12,
        "vocab_size": 30522,
        "dropout": 0.1,
        "pooler": False,
        "masked_head": False,
        "head": {"kind": "contrastive", "pooling": "mean"},
    },
    "objective": {"kind": "info_nce", "temperature": 0.05},
    "data": {"corpus": "stsb_en/stsb-en-train.csv", "columns": 2, "apart": True, "seq_len": 32, "val_fraction": 0},
    "batch_size": 64,
    "steps": 11498 // 64,
    "optim": {"kind": "adamw", "lr": 3e-5, "weight_decay": 0},
    "schedule": {"kind": "linear", "warmup": 18},
    "eval": {"sts": "stsb_en/stsb-en-test.csv"},
}
"""One epoch over the 11,498 sentences of STS-B's training part, without their scores: SimCSE's rate, its mean pooled as
these weights were trained."""


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


def minilm(folder: Path, seeds: int) -> dict[str, float]:
    """From real weights."""
    test = read_subsets(Path(os.environ.get("JAXGPT_DATA", ".")) / "stsb_en/stsb-en-test.csv")
    start = sts(lambda texts: jaxgpt.load(folder).encode(texts, quiet=True), test)["sts/all"]
    after = []
    for seed in range(seeds):
        given = {"start": str(folder), "tokenizer": {"kind": "wordpiece", "path": str(folder)}, "seed": seed}
        after.append(run(parse(Run, apply_overrides(MINILM, given)), OUT / f"minilm/s{seed}")["val/sts"])
        print(f"seed {seed}: {start:.2f} -> {after[-1]:.2f}", flush=True)
    figures = {"minilm_before": start, "minilm_after": statistics.mean(after), "minilm_seeds": seeds}
    return figures | ({"minilm_after_sd": statistics.stdev(after)} if seeds > 1 else {})


def main() -> None:
    options = arguments("STS-B before and after unsupervised SimCSE")
    if not (Path(os.environ.get("JAXGPT_DATA", ".")) / "stsb_en").exists():
        print("skipped: no stsb_en here; set JAXGPT_DATA to the folder that holds it")
        return
    seeds = 1 if options.quick else 5
    figures = scratch(seeds)
    folder = os.environ.get("JAXGPT_MINILM")
    if folder is not None:
        figures |= minilm(Path(folder), seeds)
    write(options.json, figures, cpu())


if __name__ == "__main__":
    main()
