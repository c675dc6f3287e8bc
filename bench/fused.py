"""Eight seeds of the Shakespeare CPU setting: fused, one after another, and as Hugging Face GPT-2 in torch eager.

Total wall-clock time of whole runs, compiling and validation included, process start and imports not. The three take
turns in pairs of seeds, each in a process of its own, so that all meet the same machine. `--quick` trains a fifth of
the steps, which counts compiling five times as much.
Needs the corpus: JAXGPT_DATA=<folder that holds tinyshakespeare/>.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import arguments, cpu, seconds, shakespeare, write

CONFIG = Path(__file__).parent.parent / "configs/gpt2/shakespeare_char_cpu.yaml"
SEEDS, PAIR = 8, 2
GOALS = {"fused_over_sequential": 0.8, "fused_over_torch": 1.0}


def runs(steps: int) -> list[Any]:
    from jaxgpt.runs import Run
    from jaxgpt.spec import load_yaml

    fields = {"steps": steps, "exec.compilation_cache": False, "exec.save_every": None, "exec.keep_best": False}
    return [load_yaml(Run, CONFIG, fields | {"seed": seed}) for seed in range(SEEDS)]


def serve(name: str, steps: int) -> None:
    """Answers each line `FIRST` with the seconds that seeds FIRST to FIRST + 1 took, and their mean last loss."""
    train = torch_pair(steps) if name == "torch" else our_pair(steps, fused=name == "fused")
    print("ready", flush=True)
    for line in sys.stdin:
        losses: list[float] = []
        took = seconds(lambda first=int(line), held=losses: held.extend(train(first)))
        print(took, sum(losses) / len(losses), flush=True)


def our_pair(steps: int, fused: bool) -> Any:
    from jaxgpt.parallel import split_cpu

    if fused:
        split_cpu()
    from jaxgpt import run
    from jaxgpt.train.fused.loop import run_fused

    specs, folder = runs(steps), Path(tempfile.mkdtemp(prefix="jaxgpt-bench-"))

    def train(first: int) -> list[float]:
        seeds = range(first, first + PAIR)
        outs = [folder / f"seed{seed}" for seed in seeds]
        if fused:
            results = run_fused([specs[seed] for seed in seeds], outs, quiet=True)
        else:
            results = [run(specs[seed], out, quiet=True) for seed, out in zip(seeds, outs, strict=True)]
        return [result["val/loss"] for result in results]

    return train


def torch_pair(steps: int) -> Any:
    """nanoGPT's shape and recipe, our learning rate, the same complete validation passes."""
    import numpy as np
    import torch
    from torch_steps import update
    from transformers import GPT2Config, GPT2LMHeadModel

    from jaxgpt.text import prepare

    spec = runs(steps)[0]
    prepared = prepare(spec.data, spec.tokenizer, spec.model.context, quiet=True)
    held_out = [torch.from_numpy(b["tokens"]).long() for b in prepared.val_batches(spec.eval.batch_size)]
    config = GPT2Config(
        vocab_size=spec.model.vocab_size, n_positions=spec.model.context, n_embd=spec.model.d_model,
        n_layer=spec.model.num_layers, n_head=spec.model.num_heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    optim = {name: getattr(spec.optim, name) for name in ("lr", "b1", "b2", "eps", "weight_decay", "clip")}

    def one(seed: int) -> float:
        torch.manual_seed(seed)
        model, loss = GPT2LMHeadModel(config).train(), float("nan")
        rows: dict[str, Any] = {}
        step = update(lambda: model(rows["tokens"], labels=rows["tokens"], use_cache=False).loss, model, optim)
        for number in range(steps):
            batch = prepared.batch(seed, number * spec.batch_size, (number + 1) * spec.batch_size)
            rows["tokens"] = torch.from_numpy(batch["tokens"]).long()
            step()
            if (number + 1) % spec.eval.every == 0 or number + 1 == steps:
                with torch.no_grad():
                    loss = float(np.mean([model(x, labels=x, use_cache=False).loss.item() for x in held_out]))
        return loss

    return lambda first: [one(seed) for seed in range(first, first + PAIR)]


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1] == "--serve":
        serve(sys.argv[2], int(sys.argv[3]))
        return
    options = arguments("wall-clock time of eight seeds: fused, in sequence, and in torch")
    shakespeare()
    steps = 400 if options.quick else 2000
    sides = {name: start(name, steps) for name in ("fused", "sequential", "torch")}
    spent = dict.fromkeys(sides, 0.0)
    for first in range(0, SEEDS, PAIR):
        for name, process in sides.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{first}\n")
            process.stdin.flush()
            took, loss = map(float, process.stdout.readline().split())
            spent[name] += took
            print(f"seeds {first} and {first + 1}, {name}: {took:.1f} s, validation loss {loss:.3f}", flush=True)
    for process in sides.values():
        process.terminate()
    figures = {
        "fused_over_sequential": spent["fused"] / spent["sequential"],
        "fused_over_torch": spent["fused"] / spent["torch"],
        **{f"{name}_seconds": took for name, took in spent.items()},
        "steps_a_run": float(steps),
    }
    print("goals: " + ", ".join(f"{name} <= {goal}" for name, goal in GOALS.items()))
    write(options, figures, cpu())


def start(name: str, steps: int) -> "subprocess.Popen[str]":
    command = [sys.executable, __file__, "--serve", name, str(steps)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        if process.poll() is not None:
            raise SystemExit(f"{name} could not start")
    return process


if __name__ == "__main__":
    main()
