"""The training loop: one page, top to bottom."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax

from jaxgpt.parallel import compute_inline
from jaxgpt.parallel.backend import start
from jaxgpt.parallel.processes.agreement import process_index
from jaxgpt.parallel.processes.watchdog import Watchdog
from jaxgpt.runs.batch_rows import Rows
from jaxgpt.runs.identity import stamp
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.run import Row
from jaxgpt.terminal import Watch, console
from jaxgpt.train.device_batch import put
from jaxgpt.train.opening import Opened, begin, opened
from jaxgpt.train.program import hyper
from jaxgpt.train.run_writer import RunWriter
from jaxgpt.train.stop_signal import StopSignal
from jaxgpt.train.validation import Validation, due


def train(run: ObjectiveRun, out: Path, quiet: bool = False, watch: Callable[[Row], None] | None = None) -> Row:
    """Trains a run in the folder `out` and returns what `out/result.json` holds.

    Continues by itself when `out` holds the same run unfinished, bitwise as if it had never stopped; returns at once
    when it is finished. `watch` is called with every row of metrics. Raises ConfigError for bad fields or when `out`
    holds another run, and ChangedError when it holds this one ended and changed since. The result's `status` is
    finished, diverged (too many updates were not finite), or stopped (a signal asked for it; the same call continues).

    Where `jax.distributed` is initialised, all processes call this alike and share the run; `out` must be on a file
    system that all see. When one of them fails, all end.
    """
    compute_inline()
    start()
    quiet = quiet or process_index() > 0
    with Watchdog(run.exec.hang_seconds) as watchdog, opened(run, out, quiet) as here:
        return here.result or _train(here, quiet, watch, watchdog)


def _train(opened: Opened, quiet: bool, watch: Callable[[Row], None] | None, watchdog: Watchdog) -> Row:
    run, data, program, out, folder, _, logits = opened
    values, key = hyper(run), jax.random.key(run.seed)
    init_key, dropout_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    rows, validation, shared = Rows(run), Validation(opened, values), run.schedule.shared(run.steps)
    first, state, meta, hashes = begin(opened, init_key, values)

    with (
        StopSignal() as stop,
        Watch(out.name, run.steps, "steps", first, quiet) as line,
        RunWriter(run, out, folder, facts={"logits": logits}).open(first, meta, data, hashes, line, watch) as writer,
    ):
        record = writer.record
        status, now = record.verdict(), first
        for step in range(first, run.steps if status is None else first):
            watchdog.moved()
            span = rows.span(step)
            batch = put(partial(data.batch, run.seed), span, program.batch_shardings)
            state, metrics = program.step(state, batch, dropout_key, values)
            now, better = step + 1, False
            measure = validation.due(now)
            logged = measure or now == run.steps or due(now, run.exec.log_every)
            record.step(now, span[1] * run.row_tokens, metrics, logged, metrics["loss"])
            if step == first:
                writer.log.event("first_step", step=now, seconds=round(record.seconds, 3))
                line.restart(now)
                stop.listen()
            if measure:
                with record.paused():
                    measured = validation.measure(state.weights)
                better = record.validation(measured) and run.exec.keep_best
            asked = stop.agreed()
            status = record.verdict() or ("finished" if now == run.steps else "stopped" if asked else None)
            if status is not None or better or due(now, run.exec.save_every) or now == shared:
                record.flush()
                status = record.verdict() or status
                if not record.broken:
                    with record.paused():
                        writer.save(now, state.saved, better, stamp(run, hashes), shared)
            if status is not None:
                break
        result = writer.end(status or "finished", now)
    if status == "stopped" and not quiet:
        console.print(f"stopped at step {now} and saved; the same command continues", highlight=False)
    return result
