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

import statistics
import time
from pathlib import Path

from harness import arguments, cpu, seconds, write
from our_step import OurStep, random_tokens
from peer import Peer

from jaxgpt.parallel import keep_freed_memory
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import load_yaml

CONFIG = Path(__file__).parent.parent / "configs/gpt2/shakespeare_char_cpu.yaml"
AS_HF = ("model.bias=true", "model.norm.bias=true", "model.feed_forward.activation=gelu_tanh")
GOAL = 0.85
BLOCK, WARMUP = 20, 5


def main() -> None:
    options = arguments("milliseconds of one training step, ours and the peers'")
    keep_freed_memory()  # as `jaxgpt train` does
    plain, biased = load_yaml(ObjectiveRun, CONFIG), load_yaml(ObjectiveRun, CONFIG, AS_HF)
    setting = plain.model.model_dump() | {"batch_size": plain.batch_size, "optim": plain.optim.model_dump()}
    with Peer("torch_steps.py", setting) as torch:
        assert torch.ask("sizes") == {"hf": biased.model.count(), "nano": plain.model.count()}, "not the same models"
        ours, ours_biased = (OurStep(run, random_tokens(run)) for run in (plain, biased))
        calls = {
            "ours_biased": lambda: [seconds(ours_biased) for _ in range(WARMUP + BLOCK)],
            "hf_eager": lambda: torch.ask("hf", WARMUP + BLOCK),
            "ours": lambda: [seconds(ours) for _ in range(WARMUP + BLOCK)],
            "torch_sdpa": lambda: torch.ask("nano", WARMUP + BLOCK),
        }
        took: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(3 if options.quick else 12):
            for name, call in calls.items():
                time.sleep(0.5)  # until the other side's threads have stopped spinning
                took[name] += call()[WARMUP:]
    median = {name: 1000 * statistics.median(times) for name, times in took.items()}
    figures = {
        "step_ratio_vs_hf_eager": median["ours_biased"] / median["hf_eager"],
        "step_ratio_vs_torch_sdpa": median["ours"] / median["torch_sdpa"],
        **{f"{name}_ms": value for name, value in median.items()},
        **{f"{name}_best_ms": 1000 * min(times) for name, times in took.items()},
        "compile_seconds": ours.compile_seconds,
        "compile_seconds_biased": ours_biased.compile_seconds,
    }
    write(options, figures, cpu())
    print(f"step_ratio_vs_hf_eager {figures['step_ratio_vs_hf_eager']:.3f} (goal <= {GOAL})")


if __name__ == "__main__":
    main()
