"""One training step of LoRA on a CPU: ours against PEFT on transformers in torch eager, the same weights, float32.

SmolLM2-135M's shape with random weights, rank 8 on q and v, 8 rows of 64 tokens, AdamW, gradients clipped at norm 1. A
step is timed from a batch on the host to parameters that are ready; torch runs in a process of its own and the two
take turns. Correctness comes first: both must begin at one loss, with as many trainable parameters.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
from harness import arguments, cpu, seconds, write
from our_step import OurStep, random_tokens
from peer import Peer

from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import Llama
from jaxgpt.parallel import compute_inline, keep_freed_memory
from jaxgpt.peft import LoRA
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import parse

ROWS, LENGTH, BLOCK, WARMUP = 8, 64, 4, 1
GOAL, NEAR = 0.8, 1e-4


def lora_run() -> ObjectiveRun:
    """The run whose step is timed; its start is never read."""
    size = Llama.sizes["smollm2-135m"] | {"context": LENGTH}
    tree = {
        "model": Llama(**size, adapter=LoRA(rank=8, alpha=16)).model_dump(mode="json"),
        "tokenizer": "byte_bpe",
        "start": "random weights",
        "batch_size": ROWS,
        "steps": 1000,
        "optim": {"kind": "adamw", "lr": 2e-4, "b2": 0.999, "weight_decay": 0, "clip": 1.0},
        "schedule": {"kind": "constant"},
    }
    return parse(ObjectiveRun, tree)


@contextmanager
def peft_of(run: ObjectiveRun, step: OurStep, batch: dict[str, np.ndarray]) -> Iterator[Peer]:
    """PEFT in a process of its own, with the same frozen weights and batch."""
    adapter, optim = run.model.adapter, run.optim
    theirs = {"r": adapter.rank, "lora_alpha": adapter.alpha, "target_modules": ["q_proj", "v_proj"]}
    with tempfile.TemporaryDirectory() as folder:
        base = jax.tree.map(np.asarray, step.state.frozen)
        write_folder(Path(folder) / "out", run.model.evolve(adapter=None), base)
        np.savez(Path(folder) / "batch.npz", **batch)
        with Peer("torch_lora.py", folder, theirs, optim.model_dump(mode="json")) as peer:
            yield peer


def begin_alike(run: ObjectiveRun, step: OurStep, batch: dict[str, np.ndarray], peer: Peer) -> float:
    """The difference of the two losses before any step. Ends the script where the two do not compute one thing."""
    ours = sum(leaf.size for leaf in jax.tree.leaves(step.state.params)), run.model.count()
    if tuple(theirs := peer.ask("sizes")) != ours:
        raise SystemExit(f"error: {ours} trainable and all parameters, PEFT's {theirs}; nothing was timed")
    model = run.model.build(dtype=run.dtype)
    loss = float(jax.jit(lambda p, b: run.objective.loss(model, p, b, None)[0])(step.state.model_params, batch))
    if (difference := abs(loss - peer.ask("loss"))) > NEAR:
        raise SystemExit(f"error: the losses differ by {difference:.2g}; nothing was timed")
    return difference


def main() -> None:
    options = arguments("milliseconds of a LoRA step on SmolLM2-135M, ours and PEFT's")
    compute_inline()  # as `jaxgpt train` does
    keep_freed_memory()
    run = lora_run()
    batch = random_tokens(run)
    ours = OurStep(run, batch)
    took: dict[str, list[float]] = defaultdict(list)
    with peft_of(run, ours, batch) as peer:
        difference = begin_alike(run, ours, batch, peer)
        for _ in range(2 if options.quick else 6):
            time.sleep(0.5)  # until the other side's threads have stopped spinning
            took["ours"] += [seconds(ours) for _ in range(WARMUP + BLOCK)][WARMUP:]
            time.sleep(0.5)
            took["peft"] += peer.ask("block", WARMUP + BLOCK)[WARMUP:]
    median = {name: 1000 * statistics.median(times) for name, times in took.items()}
    figures = {
        "step_ratio_vs_peft": median["ours"] / median["peft"],
        "step_ratio_vs_peft_best": min(took["ours"]) / min(took["peft"]),
        **{f"{name}_ms": value for name, value in median.items()},
        "compile_seconds": ours.compile_seconds,
        "loss_difference": difference,
        "trainable_params": sum(leaf.size for leaf in jax.tree.leaves(ours.state.params)),
    }
    write(options, figures, cpu())
    print(f"step_ratio_vs_peft {figures['step_ratio_vs_peft']:.3f} (goal <= {GOAL})")


if __name__ == "__main__":
    main()
