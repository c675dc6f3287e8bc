"""What has to be changed in a run so that its step can be compiled for a slice, and what is left aside."""

from math import prod
from typing import Any

import jax.numpy as jnp

from jaxgpt.parallel import ROWS
from jaxgpt.parallel.chips import Slice
from jaxgpt.parallel.mesh import row_parts
from jaxgpt.runs.divisibility import nearest
from jaxgpt.runs.objective_run import ObjectiveRun

LANES = 128
"""What a padded vocabulary is a multiple of: the width of a TPU's registers, and a number that meshes divide."""
LAYER = 17
"""Numbers that a layer keeps for its backward pass, over those of the stream (Korthikanti et al. 2022, equation 2,
without the attention weights, which no kernel of ours keeps)."""
STATE = 16
"""Bytes a parameter: itself, its gradient and two moments, all float32."""
WHY = {
    "batch_size": "the nearest number of rows that the mesh divides",
    "batch_ramp": "left aside: the step of the full batch is compiled",
    "eval.batch_size": "left aside: validation is not compiled",
    "exec.remat": "what all layers keep for the backward pass would fill a chip",
    "model.vocab_size": f"padded to a multiple of {LANES}, which exec.mesh.tensor divides",
}


def adapted(run: ObjectiveRun, topology: Slice) -> ObjectiveRun:
    """The run with rows and vocabulary that its mesh divides, without what is no part of a training step. Raises
    ConfigError for a mesh that does not use the slice."""
    sizes = run.exec.mesh.shape(topology.chips)
    run = run.evolve(batch_ramp=None, eval=run.eval.evolve(batch_size=None))
    unit = row_parts(sizes) * run.exec.accumulate
    if sizes["pipeline"] > 1:
        unit *= run.exec.pipeline.microbatches or sizes["pipeline"]
    run = run.evolve(batch_size=nearest(run.batch_size, unit))
    if run.model.vocab_size is not None and run.model.vocab_size % sizes["tensor"]:
        run = run.evolve(model=run.model.evolve(vocab_size=-(-run.model.vocab_size // LANES) * LANES))
    return recomputed(run) if _fills(run, topology, sizes) else run


def recomputed(run: ObjectiveRun) -> ObjectiveRun:
    """The run with blocks computed again in the backward pass, where nothing was."""
    return run.evolve(exec=run.exec.evolve(remat="block")) if run.exec.remat == "none" else run


def changes(asked: ObjectiveRun, run: ObjectiveRun) -> dict[str, tuple[Any, Any]]:
    """`{field: (asked for, compiled)}`, of the fields that WHY explains."""
    pairs = {path: (_at(asked, path), _at(run, path)) for path in WHY}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def _at(run: ObjectiveRun, path: str) -> Any:
    value: Any = run
    for name in path.split("."):
        value = getattr(value, name)
    return value if path != "batch_ramp" or value is None else f"from {value.start} rows"


def _fills(run: ObjectiveRun, topology: Slice, sizes: dict[str, int]) -> bool:
    """Whether state and what the layers keep exceed a chip's memory, by a rule of thumb."""
    tokens = run.batch_size * run.row_tokens / prod(sizes[axis] for axis in (*ROWS, "sequence")) / run.exec.accumulate
    activations = (
        tokens
        * run.model.depth
        * run.model.width
        * LAYER
        * jnp.dtype(run.dtype).itemsize
        / (sizes["tensor"] * sizes["pipeline"])
    )
    state = STATE * run.model.count() / prod(sizes[axis] for axis in sizes if axis not in ("data", "sequence"))
    return activations + state > topology.chip.memory
