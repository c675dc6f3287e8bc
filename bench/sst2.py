"""Full fine-tuning of all-MiniLM-L6-v2 on SST-2: accuracy on the development part, ours and transformers' on torch.

One recipe on both sides, that of configs/bert/sst2_minilm.yaml: AdamW, linear decay after a warm-up, two epochs of
6,920 sentences of up to 48 tokens, dropout 0.1 in the model and before the classifier, gradients clipped at norm 1.
Three seeds each, which draw the classifier, the order and dropout; the two sides take turns, torch in a process of
its own. `--quick`: one seed and a fifth of the steps. JAXGPT_MINILM names the folder of the weights (see
bench/minilm.py), JAXGPT_DATA the one with sst2/.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import statistics
import tempfile
from pathlib import Path
from typing import Any

from harness import arguments, cpu, write
from peer import Peer

from jaxgpt import run
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import load_yaml

CONFIG = Path(__file__).parent.parent / "configs/bert/sst2_minilm.yaml"
SEEDS, GOAL = 3, 1.0


def ours(folder: str, seed: int, quick: bool) -> ObjectiveRun:
    """The config's run from these weights."""
    fields = {"start": folder, "tokenizer.path": folder, "seed": seed, "exec.save_every": None, "exec.keep_best": False}
    run = load_yaml(ObjectiveRun, CONFIG, fields)
    steps = run.steps // 5 if quick else run.steps
    return run.evolve(steps=steps, schedule=run.schedule.evolve(warmup=steps // 10))


def recipe(run: ObjectiveRun) -> dict[str, Any]:
    """What the other side needs to know of it."""
    own = {"batch_size": run.batch_size, "seq_len": run.seq_len, "steps": run.steps, "warmup": run.schedule.warmup}
    return run.optim.model_dump(mode="json") | own


def main() -> None:
    options = arguments("accuracy of MiniLM fine-tuned on SST-2, ours and transformers' on torch")
    folder, data = os.environ.get("JAXGPT_MINILM"), Path(os.environ.get("JAXGPT_DATA", ".")) / "sst2"
    if folder is None or not data.exists():
        print(f"skipped: no data at {data}, or no weights; set JAXGPT_DATA and JAXGPT_MINILM")
        return
    specs = [ours(folder, seed, options.quick) for seed in range(1 if options.quick else SEEDS)]
    scores: dict[str, list[float]] = {"ours": [], "torch": []}
    took: dict[str, list[float]] = {"ours": [], "torch": []}
    files = [str(data / f"{part}.tsv") for part in ("train", "dev")]
    with Peer("torch_sst2.py", folder, *files, recipe(specs[0])) as peer, tempfile.TemporaryDirectory() as out:
        for seed, spec in enumerate(specs):
            result = run(spec, Path(out) / f"s{seed}", quiet=True)
            theirs = peer.ask("train", seed)
            for name, accuracy, seconds in (
                ("ours", result["val/accuracy"], result["seconds"]),
                ("torch", theirs["accuracy"], theirs["seconds"] + theirs["judging_seconds"]),
            ):
                scores[name].append(100 * accuracy)
                took[name].append(seconds)
                print(f"seed {seed}, {name}: {100 * accuracy:.2f} in {seconds:.0f} s", flush=True)
    figures = {f"{name}_accuracy_seed{seed}": value for name, all in scores.items() for seed, value in enumerate(all)}
    for name, values in scores.items():
        figures[f"{name}_accuracy"] = statistics.mean(values)
        if len(values) > 1:
            figures[f"{name}_accuracy_sd"] = statistics.stdev(values)
        figures[f"{name}_seconds_a_run"] = statistics.mean(took[name])
    figures["difference"] = figures["ours_accuracy"] - figures["torch_accuracy"]
    figures["steps_a_run"] = float(specs[0].steps)
    write(options, figures, cpu())
    print(f"ours minus torch: {figures['difference']:+.2f} points (goal: within {GOAL})")


if __name__ == "__main__":
    main()
