"""All that is to be measured on a GPU, most important first, for a card that is lent for minutes.

    python bench/gpu.py --minutes 8 --json FILE [--only PART ...] [--again]

Each part runs in a process of its own and is killed at its limit; FILE is written after every figure, and what is left
is named. Called again with the same FILE it goes on with the parts that are not done. Peers (torch, transformers,
sentence-transformers) run in processes of their own and take turns with ours; where one is missing the part reports
ours alone, and says so. `JAXGPT_DATA` is the folder that holds tinyshakespeare/. Without a GPU, or with `--quick`,
everything runs in tiny shapes, whose times mean nothing: it shows that the script works.
"""

import json
import os
import signal
import sys
from itertools import product
from pathlib import Path
from typing import Any

from gpu.budget import DONE, TINY, OtherDevice, Part, Record, run
from harness import arguments, sources

PARTS = (
    Part("kernels", "gpu.kernels:measure", 120, "every attention kernel against float64"),
    Part("training", "gpu.training:against_nanogpt", 240, "GPT-2 124M's step against nanoGPT's"),
    Part("scan", "gpu.training:scan", 120, "the same step, layers scanned against unrolled"),
    Part("attention", "gpu.attention:measure", 180, "sparse patterns against cuDNN's dense kernel and FlexAttention"),
    Part("simcse", "gpu.simcse:measure", 90, "a SimCSE step against sentence-transformers"),
    Part("seeds", "gpu.seeds:measure", 100, "32 fused seeds against one after another"),
    Part("generation", "gpu.generation:measure", 160, "GPT-2 124M writes, against Hugging Face"),
    Part("shakespeare", "gpu.shakespeare:measure", 150, "configs/gpt2/shakespeare_char.yaml, whole"),
    Part(
        "logits",
        "gpu.training:logits",
        150,
        "the step with logits whole, in parts, and as objective.chunk: auto has it",
    ),
)
GOALS = {
    "training_shape_over_nanogpt": 1.05,
    "training_config_over_nanogpt": 1.0,
    "training_shape_mfu": 0.45,
    "scan_over_unrolled": 0.95,
    "attention_strided_16384_forward_over_dense": 3.0,
    "attention_strided_16384_both_over_dense": 2.5,
    **{f"attention_fixed_16384_{way}_over_dense": 1.5 for way in ("forward", "both")},
    **{f"attention_dilated_16384_{way}_over_dense": 3.0 for way in ("forward", "both")},
    **{
        f"attention_{pattern}_16384_{way}_over_flex": 1.0
        for pattern, way in product(("strided", "fixed", "dilated"), ("forward", "both"))
    },
    "simcse_over_sentence_transformers": 1.1,
    "seeds_over_sequential": 8.0,
    "generation_greedy_b1_over_hugging_face": 3.0,
    "generation_greedy_b32_over_hugging_face": 1.5,
}
"""Least values, of a card."""


def main() -> None:
    names = [part.name for part in PARTS]
    options = arguments(
        __doc__,
        timed=False,
        minutes={"type": float, "default": 8.0, "help": "minutes in all (default 8)"},
        only={"nargs": "+", "choices": names, "metavar": "PART", "help": f"of {', '.join(names)}"},
        again={"action": "store_true", "help": "measure parts anew that the file has already"},
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before: dict[str, Any] = {}
    if options.json is not None and options.json.exists():
        before = json.loads(options.json.read_text(encoding="utf-8"))
    record = Record(before, lambda record: save(record, options.json))
    wanted = [part for part in PARTS if part.name in (options.only or names)]
    try:
        run(wanted, 60 * options.minutes, record, options.again, options.quick)
    except OtherDevice as why:
        sys.exit(f"error: --json: {options.json}: {why}")
    for part in PARTS:
        print(f"{part.name:12} {record.status(part.name)}")
    for name, goal in GOALS.items():
        if name in record.figures and not record.device.endswith(TINY):
            print(f"{name} {record.figures[name]:.2f} (goal {goal})")
    failed = [part.name for part in wanted if record.status(part.name).startswith("failed")]
    sys.exit(1 if failed else 0)


def save(record: Record, path: Path | None) -> None:
    """Writes the file, whole or not at all."""
    if path is None:
        return
    left = [part.name for part in PARTS if record.status(part.name) != DONE]
    report = {"figures": record.figures, "parts": record.parts, "left": left} | sources(record.device)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    os.replace(draft, path)


if __name__ == "__main__":
    main()
