"""What does unsupervised SimCSE do to all-MiniLM-L6-v2, which a billion labelled pairs trained? Five seeds.

JAXGPT_DATA names the folder that holds stsb_en/, JAXGPT_MINILM that of MiniLM's weights (see bench/minilm.py). Runs go
to runs/bench/simcse_minilm and are continued, not repeated. Scores are Spearman times 100 on STS-B's test part.
"""

import os
import statistics
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from harness import arguments, cpu, write
from scipy.stats import ttest_1samp

import jaxgpt
from jaxgpt import run
from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.runs import Run
from jaxgpt.spec import apply_overrides, parse

OUT = Path("runs/bench/simcse_minilm")
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


def minilm(folder: Path, seeds: int) -> dict[str, float]:
    """One epoch of SimCSE from real weights, for each seed."""
    model = jaxgpt.load(folder)
    test = read_subsets(Path(os.environ["JAXGPT_DATA"]) / "stsb_en/stsb-en-test.csv")
    start = sts(lambda texts: model.encode(texts, quiet=True), test).figures["sts/all"]
    after = []
    for seed in range(seeds):
        given = {"start": str(folder), "tokenizer": {"kind": "wordpiece", "path": str(folder)}, "seed": seed}
        after.append(run(parse(Run, apply_overrides(MINILM, given, Run)), OUT / f"s{seed}")["val/sts"])
        print(f"seed {seed}: {start:.2f} -> {after[-1]:.2f}", flush=True)
    figures = {"before": start, "after": statistics.mean(after), "seeds": seeds}
    if seeds > 1:
        figures |= {"after_sd": statistics.stdev(after), "p": float(ttest_1samp(after, start).pvalue)}
    return figures


def main() -> None:
    options = arguments("STS-B before and after unsupervised SimCSE, from MiniLM's weights", timed=False)
    folder, data = os.environ.get("JAXGPT_MINILM"), Path(os.environ.get("JAXGPT_DATA", "."))
    if folder is None or not (data / "stsb_en").exists():
        print("skipped: set JAXGPT_MINILM to MiniLM's weights and JAXGPT_DATA to the folder that holds stsb_en/")
        return
    write(options, minilm(Path(folder), 1 if options.quick else 5), cpu())


if __name__ == "__main__":
    main()
