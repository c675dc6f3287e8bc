"""GradCache on this machine: a contrastive step of 1,024 rows, 32 at once, against all at once.

Memory is what XLA allocates for temporary values (`memory_analysis`), time the median of whole steps that take turns;
compiling comes before. Dropout is on; gradients of both are compared too.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from harness import arguments, cpu, interleaved, write

from jaxgpt.models import BERT
from jaxgpt.objectives import InfoNCE

ROWS, LENGTH, CHUNK = 1024, 32, 32


def main() -> None:
    options = arguments("memory, time and gradients of GradCache against the whole batch")
    spec = BERT(
        num_layers=4,
        d_model=128,
        num_heads=4,
        context=LENGTH,
        vocab_size=6000,
        dropout=0.1,
        pooler=False,
        masked_head=False,
        text_head={"kind": "contrastive"},
    )
    model, params, key = spec.build(loop="scan"), spec.init(jax.random.key(0)), jax.random.key(1)
    rng = np.random.default_rng(0)
    real = np.arange(LENGTH) < rng.integers(4, LENGTH + 1, ROWS)[:, None]
    batch = {"tokens": (rng.integers(5, 6000, real.shape) * real).astype(np.int32), "segments": real.astype(np.int32)}
    steps = {}
    for name, chunk in {"whole": None, "parts": CHUNK}.items():
        objective = InfoNCE(chunk=chunk)
        step = jax.jit(jax.value_and_grad(lambda p, b, o=objective: o.loss(model, p, b, key)[0]))
        steps[name] = step.lower(params, batch).compile()
    memory = {name: step.memory_analysis().temp_size_in_bytes for name, step in steps.items()}
    (whole, whole_grads), (parts, parts_grads) = (step(params, batch) for step in steps.values())
    apart = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), whole_grads, parts_grads)
    rounds = 2 if options.quick else 5
    calls = {name: lambda step=step: jax.block_until_ready(step(params, batch)) for name, step in steps.items()}
    times = interleaved(calls, rounds, warmup=1)
    figures = {
        "memory_ratio": memory["parts"] / memory["whole"],
        "whole_megabytes": memory["whole"] / 1e6,
        "parts_megabytes": memory["parts"] / 1e6,
        "time_ratio": times["parts"].median / times["whole"].median,
        "loss_difference": abs(float(whole) - float(parts)),
        "gradient_difference": max(jax.tree.leaves(apart)),
    }
    write(options, figures, cpu())


if __name__ == "__main__":
    main()
