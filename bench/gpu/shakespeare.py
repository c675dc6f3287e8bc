"""configs/gpt2/shakespeare_char.yaml from the first step to the last, in bfloat16: validation loss and seconds."""

import tempfile
from pathlib import Path

import jaxgpt
from gpu.corpus import need_shakespeare
from gpu.part import Report
from jaxgpt.runs import ObjectiveRun
from jaxgpt.runs.run import Row
from jaxgpt.spec import load_yaml

CONFIG = Path(__file__).parents[2] / "configs/gpt2/shakespeare_char.yaml"
TINY = {
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.d_model": 16,
    "model.context": 16,
    "batch_size": 4,
    "steps": 8,
    "eval.every": 4,
}


def measure(report: Report) -> None:
    """The run's own figures, each time that it validates."""
    need_shakespeare()
    run = load_yaml(ObjectiveRun, CONFIG, {"dtype": "bfloat16"} | (TINY if report.small else {}))
    best: list[float] = []

    def watch(row: Row) -> None:
        if row.get("val/loss") is not None:
            best.append(row["val/loss"])
            report.figure("best_val_loss", min(best))
            report.figure("steps", row["step"])
        report.at(f"step {row['step']}")

    report.at("starting")
    with tempfile.TemporaryDirectory() as folder:
        result = jaxgpt.run(run, Path(folder) / "run", quiet=True, watch=watch)
    for name in ("seconds", "tokens_per_second"):
        report.figure(name, result[name])
    report.figure("steps", result["step"])
    report.figure("best_val_loss", result["best_val/loss"])
