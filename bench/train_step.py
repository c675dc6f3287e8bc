"""One training step on a CPU: ours against Hugging Face GPT-2 and against nanoGPT's model, both torch eager, float32.

4 layers, d 128, 4 heads, context 64, batch 12, vocabulary 65, no dropout, AdamW, gradients clipped at norm 1.
Ours is the step that `jaxgpt train configs/gpt2/shakespeare_char_cpu.yaml` runs: once as the file says (nanoGPT's
model has no biases either), once with biases and the tanh GELU, as Hugging Face's model has them.

Torch runs in a process of its own and the two take turns in blocks of steps: within one process the thread pool of one
library spins while the other computes, and both come out slower. A step is timed from a batch on the host
to parameters that are ready.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from harness import arguments, cpu, seconds, write

from jaxgpt.parallel import keep_freed_memory
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import load_yaml
from jaxgpt.train.program import hyper, program

CONFIG = Path(__file__).parent.parent / "configs/gpt2/shakespeare_char_cpu.yaml"
AS_HF = ("model.bias=true", "model.norm.bias=true", "model.feed_forward.activation=gelu_tanh")
GOAL = 0.85
BLOCK, WARMUP = 20, 5


def our_step(run: ObjectiveRun) -> tuple[Callable[[], Any], float]:
    """A call that makes one update, and the seconds that compiling took."""
    compiled = program(run)
    ids = np.random.default_rng(0).integers(0, run.model.vocab_size, (run.batch_size, run.seq_len + 1), np.int32)
    batch = {"tokens": ids[:, :-1], "targets": ids[:, 1:]}
    rows = compiled.batch_shardings(batch)
    key = jax.random.key(run.seed)
    values = hyper(run)
    state = compiled.init(key, values)

    def step() -> None:
        nonlocal state
        state, _ = compiled.step(state, jax.device_put(batch, rows), key, values)
        jax.block_until_ready(state)

    return step, seconds(step)


def main() -> None:
    options = arguments("milliseconds of one training step, ours and the peers'")
    keep_freed_memory()  # as `jaxgpt train` does
    plain, biased = load_yaml(ObjectiveRun, CONFIG), load_yaml(ObjectiveRun, CONFIG, AS_HF)
    setting = plain.model.model_dump() | {"batch_size": plain.batch_size, "optim": plain.optim.model_dump()}
    command = [sys.executable, str(Path(__file__).with_name("torch_steps.py")), json.dumps(setting)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as torch:
        sizes = json.loads(torch.stdout.readline())
        assert sizes == {"hf": biased.model.count(), "nano": plain.model.count()}, "not the same models"
        ours_biased, compile_biased = our_step(biased)
        ours_plain, compile_plain = our_step(plain)

        def peer(name: str) -> list[float]:
            torch.stdin.write(f"{name} {WARMUP + BLOCK}\n")
            torch.stdin.flush()
            return json.loads(torch.stdout.readline())

        calls = {
            "ours_biased": lambda: [seconds(ours_biased) for _ in range(WARMUP + BLOCK)],
            "hf_eager": lambda: peer("hf"),
            "ours": lambda: [seconds(ours_plain) for _ in range(WARMUP + BLOCK)],
            "torch_sdpa": lambda: peer("nano"),
        }
        took: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(3 if options.quick else 12):
            for name, call in calls.items():
                time.sleep(0.5)  # until the other side's threads have stopped spinning
                took[name] += call()[WARMUP:]
        torch.stdin.close()
    median = {name: 1000 * statistics.median(times) for name, times in took.items()}
    figures = {
        "step_ratio_vs_hf_eager": median["ours_biased"] / median["hf_eager"],
        "step_ratio_vs_torch_sdpa": median["ours"] / median["torch_sdpa"],
        **{f"{name}_ms": value for name, value in median.items()},
        **{f"{name}_best_ms": 1000 * min(times) for name, times in took.items()},
        "compile_seconds": compile_plain,
        "compile_seconds_biased": compile_biased,
    }
    write(options, figures, cpu())
    print(f"step_ratio_vs_hf_eager {figures['step_ratio_vs_hf_eager']:.3f} (goal <= {GOAL})")


if __name__ == "__main__":
    main()
