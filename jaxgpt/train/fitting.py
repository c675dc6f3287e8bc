"""`objective.chunk: auto`: the program whose logits exist all at once, or in the fewest parts that memory allows."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgpt.parallel import training_devices
from jaxgpt.parallel.processes.agreement import from_first
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.run import Row
from jaxgpt.train.compiled_step import CompiledStep, compile_step
from jaxgpt.train.program import Program, program

GIB = 2**30
PARTS = 1, 4, 16
"""Into how many parts the logits are cut, in this order, until the step fits."""
SMALL = 1 / 64
"""Of a device's memory: logits that take less are never cut, and nothing is compiled to find out."""
SPARE = 0.05
"""Of a device's memory, for what is there besides the step: batches in flight, validation, fragments."""


class Fitted(NamedTuple):
    """A run whose objective says how many logits exist at once, and its program."""

    run: ObjectiveRun
    program: Program
    step: CompiledStep | None
    """Where it was compiled to measure it."""
    remark: str | None
    """What a person should know of it, in a line."""
    facts: Row
    """For the provenance: `chunk` (None: whole); where measured, `step_bytes` and `memory_bytes` of a device."""


def fitted(run: ObjectiveRun, memory: int | None, devices: Sequence[jax.Device] | None = None) -> Fitted:
    """The run on `devices` (default: `training_devices`) of `memory` bytes each (None: unknown, nothing is cut).

    A number in `objective.chunk` rules. Otherwise steps are compiled until one fits, which the compiler's own count
    says; the last is taken where none does. All processes of a run call this alike, and take the first one's answer.
    """
    tokens = run.batch_size // run.exec.accumulate * run.row_tokens
    objective, devices = run.objective.with_logits(None), training_devices() if devices is None else devices
    if objective is None:
        return Fitted(run, program(run, devices), None, None, {})
    whole = run.evolve(objective=objective)
    if memory is None or _logits(whole, tokens) / len(devices) < SMALL * memory:
        return Fitted(whole, program(whole, devices), None, None, {"chunk": None})
    for parts in PARTS:
        chunk = None if parts == 1 else -(-tokens // parts)
        tried = run.evolve(objective=run.objective.with_logits(chunk))
        programs = program(tried, devices)
        try:
            step = compile_step(tried, programs)
        except jax.errors.JaxRuntimeError:  # a TPU's compiler refuses what does not fit
            if parts == PARTS[-1]:
                raise
            continue
        if from_first("objective.chunk", step.memory <= (1 - SPARE) * memory):
            break
    remark = None
    sizes = f"{step.memory / GIB:.1f} GiB of a device's {memory / GIB:.1f}"
    if step.memory > memory:
        remedy = "raise exec.accumulate, set exec.layers=scan or exec.remat=block, or use more devices"
        remark = f"warning: a step takes {sizes}; {remedy}"
    elif chunk is not None:
        remark = f"logits are made in {parts} parts; so a step takes {sizes}"
    return Fitted(tried, programs, step, remark, {"chunk": chunk, "step_bytes": step.memory, "memory_bytes": memory})


def _logits(run: ObjectiveRun, tokens: int) -> float:
    """Bytes of the logits of a batch and of their gradient."""
    return 2.0 * tokens * (run.model.vocab_size or 0) * jnp.dtype(run.dtype).itemsize
