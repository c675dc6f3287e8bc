"""One training step on a CPU: ours against Hugging Face GPT-2 and against nanoGPT's model, both torch eager, float32.

4 layers, d 128, 4 heads, context 64, batch 12, vocabulary 65, no dropout, AdamW, gradients clipped at norm 1.
Ours is the step that `jaxgpt train configs/gpt2/shakespeare_char_cpu.yaml` runs: once as the file says (nanoGPT's
model has no biases either), once with biases and the tanh GELU, as Hugging Face's model has them. A third pair, ours
and nanoGPT's model, has 6 layers, d 384, 6 heads, context 256, batch 8.

Torch runs in a process of its own and the two take turns in blocks of steps: within one process the thread pool of one
library spins while the other computes, and both come out slower. A step is timed from a batch on the host
to parameters that are ready.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from harness import arguments, cpu, seconds, write
from our_step import OurStep, random_tokens
from peer import Peer

from jaxgpt.parallel import compute_inline, keep_freed_memory
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import load_yaml

CONFIG = Path(__file__).parent.parent / "configs/gpt2/shakespeare_char_cpu.yaml"
AS_HF = ("model.bias=true", "model.norm.bias=true", "model.feed_forward.activation=gelu_tanh")
D384 = ("model.num_layers=6", "model.num_heads=6", "model.d_model=384", "model.context=256", "batch_size=8")
GOAL = 0.85


class Pair(NamedTuple):
    """Our step, and the model in torch that it is measured against."""

    name: str
    overrides: tuple[str, ...]
    peer: str
    family: str
    """What the peer is built as: `hf` or `nano`."""
    ratio: str
    block: int
    """Timed steps in one turn."""
    warmup: int


PAIRS = (
    Pair("ours_biased", AS_HF, "hf_eager", "hf", "step_ratio_vs_hf_eager", 20, 5),
    Pair("ours", (), "torch_sdpa", "nano", "step_ratio_vs_torch_sdpa", 20, 5),
    Pair("ours_d384", D384, "torch_sdpa_d384", "nano", "step_ratio_vs_torch_sdpa_d384", 5, 2),
)


def for_torch(family: str, run: ObjectiveRun) -> dict[str, Any]:
    """What the torch side needs to know of a run."""
    return run.model.model_dump() | {
        "family": family,
        "batch_size": run.batch_size,
        "optim": run.optim.model_dump(),
    }


def main() -> None:
    options = arguments("milliseconds of one training step, ours and the peers'")
    compute_inline()  # as `jaxgpt train` does
    keep_freed_memory()
    runs = {pair: load_yaml(ObjectiveRun, CONFIG, pair.overrides) for pair in PAIRS}
    settings = {pair.peer: for_torch(pair.family, run) for pair, run in runs.items()}
    with Peer("torch_steps.py", settings) as torch:
        sizes = {pair.peer: run.model.count() for pair, run in runs.items()}
        assert torch.ask("sizes") == sizes, "not the same models"
        ours = {pair: OurStep(run, random_tokens(run)) for pair, run in runs.items()}
        took: dict[str, list[float]] = defaultdict(list)
        for _ in range(3 if options.quick else 12):
            for pair, step in ours.items():
                count = pair.warmup + pair.block
                time.sleep(0.5)  # until the other side's threads have stopped spinning
                took[pair.name] += [seconds(step) for _ in range(count)][pair.warmup :]
                time.sleep(0.5)
                took[pair.peer] += torch.ask(pair.peer, count)[pair.warmup :]
    median = {name: 1000 * statistics.median(times) for name, times in took.items()}
    figures = {
        **{pair.ratio: median[pair.name] / median[pair.peer] for pair in PAIRS},
        **{f"{name}_ms": value for name, value in median.items()},
        **{f"{name}_best_ms": 1000 * min(times) for name, times in took.items()},
        **{f"compile_seconds{pair.name.removeprefix('ours')}": step.compile_seconds for pair, step in ours.items()},
    }
    write(options, figures, cpu())
    print(f"step_ratio_vs_hf_eager {figures['step_ratio_vs_hf_eager']:.3f} (goal <= {GOAL})")


if __name__ == "__main__":
    main()
