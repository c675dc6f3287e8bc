"""Seconds a step, measured: what fusing and a budget of seconds are decided by."""

import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from jaxgpt.lab.question.code import own_code
from jaxgpt.spec import ConfigError, digest, stated

WARMUP, STEPS = 3, 20


class Pace(NamedTuple):
    """Seconds that compiling and a step took, as measured."""

    compile: float
    """Seconds until the first step was done."""
    step: float
    """Median seconds of a later step: of one run, or of all lanes together."""


def program_id(run: Any) -> str:
    """Digest of all that a run's pace depends on but the machine: not its seed, its inputs or its length."""
    return digest({"run": stated(run.signature(), leave_out=["steps"]), "code": own_code(run)})


def solo_pace(run: Any) -> Pace:
    """Times one run on its own, on real batches. Raises ConfigError for a kind of run with a loop of its own."""
    import jax

    if not run.one_program:
        raise ConfigError(
            f"budget: seconds: a step of runs of kind {run.kind} cannot be timed alone; use tokens or flops"
        )

    from jaxgpt.train.device_batch import put
    from jaxgpt.train.opening import ready
    from jaxgpt.train.program import hyper, program

    prepared = ready(run, quiet=True)
    run = run.settled(prepared)
    compiled, values, key = program(run), hyper(run), jax.random.key(run.seed)

    def step(state: Any, number: int) -> Any:
        rows = number * run.batch_size, (number + 1) * run.batch_size
        batch = put(partial(prepared.batch, run.seed), rows, compiled.batch_shardings)
        return compiled.step(state, batch, key, values)

    return _time(lambda: compiled.init(key, values), step)


def fused_pace(runs: Sequence[Any]) -> Pace:
    """Times several runs as one program."""
    from jaxgpt.train.fused.loop import keys_and_inputs
    from jaxgpt.train.fused.program import fused_program
    from jaxgpt.train.opening import ready

    prepared = ready(runs[0], quiet=True)
    runs = [run.settled(prepared) for run in runs]
    compiled = fused_program(runs[0], len(runs))
    keys, values = keys_and_inputs(runs, compiled)

    def step(state: Any, number: int) -> Any:
        rows = number * runs[0].batch_size, (number + 1) * runs[0].batch_size
        batch = compiled.stack([prepared.batch(run.seed, *rows) for run in runs])
        return compiled.step(state, batch, keys, values)

    return _time(lambda: compiled.init(keys, values), step)


def _time(init: Any, step: Any) -> Pace:
    import jax

    began = time.perf_counter()
    state, metrics = step(init(), 0)
    jax.block_until_ready(metrics)
    compiled = time.perf_counter() - began
    times = []
    for number in range(1, WARMUP + STEPS):
        began = time.perf_counter()
        state, metrics = step(state, number)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - began)
    return Pace(compiled, statistics.median(times[WARMUP - 1 :]))
