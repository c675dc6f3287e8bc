"""An LSTM on a CPU beside torch.nn.LSTM: the loss that both end at, and the time of a step, float32.

The loss: `configs/recurrent/shakespeare_char_cpu.yaml` with two biases and without dropout, from the same start, on the
same streams with carried state, at the same rates (JAXGPT_DATA holds tinyshakespeare/). The step: of that setting, and
of Zaremba et al. 2014's medium model (650 units, 35 tokens, 20 rows, 10,000 words) by SGD. Torch runs in a process of
its own, and the two take turns in blocks of steps.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import statistics
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from harness import arguments, cpu, seconds, shakespeare, write
from our_step import OurStep, random_tokens
from peer import Peer

from jaxgpt.models import Recurrent
from jaxgpt.parallel import compute_inline, keep_freed_memory
from jaxgpt.runs import ObjectiveRun
from jaxgpt.runs.batch_rows import Rows
from jaxgpt.spec import load_yaml
from jaxgpt.train.device_batch import put
from jaxgpt.train.program import hyper, program
from jaxgpt.train.validation import validate

CONFIG = Path(__file__).parent.parent / "configs/recurrent/shakespeare_char_cpu.yaml"
PLAIN = ("model.two_biases=true", "model.dropout=0", "model.output_dropout=0")
MEDIUM = {"vocab_size": 10_000, "context": 35, "two_biases": True, **Recurrent.sizes["medium"]}
BLOCK, WARMUP = {"shakespeare": 20, "medium": 4}, {"shakespeare": 5, "medium": 1}


def medium(small: ObjectiveRun) -> ObjectiveRun:
    """Zaremba's medium model, with the settings that a step's time depends on."""
    optim = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "clip": 0.25}
    return small.evolve(model=MEDIUM | {"kind": "recurrent"}, batch_size=20, optim=optim, schedule="constant")


def losses(run: ObjectiveRun, torch: Peer, folder: Path) -> dict[str, float]:
    """What both end at, and the seconds that they take for it."""
    data = run.prepare(quiet=True)
    run = run.settled(data)
    compiled, values, rows = program(run, jax.devices()[:1]), hyper(run), Rows(run)
    state = compiled.init(jax.random.key(run.seed), values)
    spans = [rows.span(step) for step in range(run.steps)]
    held_out = data.val_batches(run.batch_size)
    given = {
        "train": [data.batch(run.seed, *span) for span in spans],
        "val": [held_out.rows(*span) for span in held_out.spans],
    }
    arrays = {f"{part}/{name}": np.stack([b[name] for b in all_]) for part, all_ in given.items() for name in all_[0]}
    arrays |= {name: np.asarray(leaf) for name, leaf in flatten_dict(state.params, sep="/").items()}
    arrays["lr"] = np.array([run.optim.lr * float(run.schedule(step, run.steps)) for step in range(run.steps)])
    np.savez(folder / "given.npz", **arrays)
    began, key = time.perf_counter(), jax.random.key(0)
    for span in spans:
        state, _ = compiled.step(state, put(partial(data.batch, run.seed), span, compiled.batch_shardings), key, values)
    jax.block_until_ready(state)
    took = time.perf_counter() - began
    carry = run.model.cache(run.batch_size, 0)
    ours = validate(compiled, run.objective, state.weights, held_out, values, carry)["val/loss"]
    theirs, seconds_theirs = torch.ask("train", str(folder / "given.npz"), "shakespeare")
    return {
        "loss": ours,
        "torch_loss": theirs,
        "loss_difference": abs(ours / theirs - 1),
        "run_seconds": took,
        "torch_run_seconds": seconds_theirs,
    }


def main() -> None:
    options = arguments("an LSTM's loss and its time of a step, ours and torch's")
    shakespeare()
    compute_inline()  # as `jaxgpt train` does
    keep_freed_memory()
    steps = 200 if options.quick else 2000
    small = load_yaml(ObjectiveRun, CONFIG, [*PLAIN, f"steps={steps}"])
    runs = {"shakespeare": small, "medium": medium(small)}
    settings = {
        name: run.model.model_dump() | {"optim": run.optim.model_dump(), "batch_size": run.batch_size}
        for name, run in runs.items()
    }
    with tempfile.TemporaryDirectory() as folder, Peer("torch_lstm.py", settings) as torch:
        sizes = {name: run.model.count() for name, run in runs.items()}
        assert torch.ask("sizes") == sizes, "not the same models"
        figures = losses(small, torch, Path(folder))
        ours = {name: OurStep(run, stream(run)) for name, run in runs.items()}
        took: dict[str, list[float]] = defaultdict(list)
        for _ in range(2 if options.quick else 8):
            for name, step in ours.items():
                count = WARMUP[name] + BLOCK[name]
                time.sleep(0.5)  # until the other side's threads have stopped spinning
                took[name] += [seconds(step) for _ in range(count)][WARMUP[name] :]
                time.sleep(0.5)
                took[f"torch_{name}"] += torch.ask("steps", name, count)[WARMUP[name] :]
    median = {name: 1000 * statistics.median(times) for name, times in took.items()}
    figures |= {f"step_ratio_vs_torch_{name}": median[name] / median[f"torch_{name}"] for name in runs}
    figures |= {f"{name}_ms": value for name, value in median.items()}
    figures |= {f"compile_seconds_{name}": step.compile_seconds for name, step in ours.items()}
    write(options, figures, cpu())


def stream(run: ObjectiveRun) -> dict[str, np.ndarray]:
    """A batch of streams that go on."""
    return random_tokens(run) | {"continues": np.ones(run.batch_size, np.int32)}


if __name__ == "__main__":
    main()
