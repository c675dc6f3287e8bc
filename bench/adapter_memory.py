"""What a step of LoRA on GPT-2 124M's shape is given and needs, by the compiler's count: the base as it is, and stored.

Arguments and temporaries of the compiled step (4 rows of 64 tokens, layers unrolled), and the bytes of the projections
that `storage` covers. Nothing is allocated or run. `--quick` is the same.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

from typing import Any

import jax
from harness import arguments, cpu, write

from jaxgpt.ops.stored import is_stored
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import parse
from jaxgpt.train.program import Program, hyper, program

SHAPE = {"kind": "gpt2", "num_layers": 12, "d_model": 768, "num_heads": 12, "context": 64, "vocab_size": 50257}
EVERYWHERE, Q_AND_V = ["(attention|feed_forward)/"], ["attention/[qv]$"]
STORED = {"nf4": "nf4", "nf4_single": {"kind": "nf4", "double": False}, "bfloat16": "bfloat16", "full": "full"}
GOALS = {"lora_qv_arguments_over_base": 1.05, "nf4_over_bfloat16": 0.30}


def lora(targets: list[str], storage: Any = "full") -> ObjectiveRun:
    """The run whose step is compiled; its start is never read."""
    tree = {
        "model": SHAPE | {"adapter": {"kind": "lora", "targets": targets, "rank": 8}},
        "tokenizer": "byte",
        "start": "random weights",
        "storage": storage,
        "batch_size": 4,
        "steps": 2,
        "optim": {"kind": "adamw", "lr": 1e-3},
        "exec": {"layers": "unroll"},
    }
    return parse(ObjectiveRun, tree)


def compiled(run: ObjectiveRun) -> tuple[Program, Any]:
    """The run's programs, and the compiler's statistics of its step."""
    programs = program(run, jax.devices()[:1])
    batch = {name: jax.ShapeDtypeStruct(*array) for name, array in run.batch_shapes().items()}
    step = programs.step.lower(programs.state, batch, jax.random.key(0), hyper(run)).compile()
    return programs, step.memory_analysis()


def size(leaves: list[Any]) -> int:
    """Bytes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def main() -> None:
    options = arguments("bytes of a LoRA step on GPT-2 124M's shape, by how the base is stored", timed=False)
    programs, memory = compiled(lora(Q_AND_V))
    figures = {
        "lora_qv_arguments_over_base": memory.argument_size_in_bytes / size(jax.tree.leaves(programs.state.frozen))
    }
    for name, storage in STORED.items():
        programs, memory = compiled(lora(EVERYWHERE, storage))
        weights = [leaf for leaf in jax.tree.leaves(programs.state.frozen, is_leaf=is_stored) if is_stored(leaf)]
        if weights:
            figures[f"{name}_projections_mb"] = size(jax.tree.leaves(weights)) / 1e6
        figures |= {
            f"{name}_arguments_mb": memory.argument_size_in_bytes / 1e6,
            f"{name}_temporaries_mb": memory.temp_size_in_bytes / 1e6,
        }
    figures["nf4_over_bfloat16"] = figures["nf4_projections_mb"] / figures["bfloat16_projections_mb"]
    write(options, figures, cpu())
    for name, value in figures.items():
        print(f"{name:32} {value:10.3f}" + (f"  (goal <= {GOALS[name]})" if name in GOALS else ""))


if __name__ == "__main__":
    main()
