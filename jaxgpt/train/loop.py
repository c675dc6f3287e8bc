"""The training loop: one page, top to bottom."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxgpt.disk import cache_dir, clear_drafts
from jaxgpt.evals.sts import read_subsets
from jaxgpt.parallel import keep_freed_memory, training_devices
from jaxgpt.parallel.backend import start
from jaxgpt.parallel.processes.agreement import agree, from_first, process_count, process_index, raise_together
from jaxgpt.parallel.processes.watchdog import Watchdog
from jaxgpt.runs.batch_rows import Rows
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.runs.files.first_process import check_shared, writer_folder
from jaxgpt.runs.files.lock import RunLock
from jaxgpt.runs.files.provenance import read_sources
from jaxgpt.runs.fits import check_devices
from jaxgpt.runs.identity import check_sources, claim, sources, stamp, suits
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.run import Row
from jaxgpt.seal import read_result
from jaxgpt.spec import ConfigError
from jaxgpt.terminal import Watch, console, say
from jaxgpt.text import TrainingData, prepare
from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.text.corpora.locate import locate
from jaxgpt.text.tokenizers.saved import load_codec
from jaxgpt.train.device_batch import put
from jaxgpt.train.initial_weights import Start
from jaxgpt.train.program import Hyper, Program, hyper, program
from jaxgpt.train.run_writer import SOLO, RunWriter
from jaxgpt.train.stop_signal import StopSignal
from jaxgpt.train.val_sts import similarity


def train(spec: ObjectiveRun, out: Path, quiet: bool = False, watch: Callable[[Row], None] | None = None) -> Row:
    """Trains `spec` in the folder `out` and returns what `out/result.json` holds.

    Continues by itself when `out` holds the same run unfinished, bitwise as if it had never stopped; returns at once
    when it is finished. `watch` is called with every row of metrics. Raises ConfigError for bad fields or when `out`
    holds another run, and ChangedError when it holds this one ended and changed since. The result's `status` is
    finished, diverged (too many updates were not finite), or stopped (a signal asked for it; the same call continues).

    Where `jax.distributed` is initialised, all processes call this alike and share the run; `out` must be on a file
    system that all see. When one of them fails, all end.
    """
    start()
    quiet = quiet or process_index() > 0
    with Watchdog(spec.exec.hang_seconds) as watchdog, ExitStack() as locks:
        agree_on_run(spec)
        check_devices(spec, len(training_devices()))
        with raise_together("prepare"):
            prepared = ready(spec, quiet, out)
        agree({"data.corpus": prepared.corpus_hash}, "give all hosts the same text")
        spec = spec.settled(prepared.codec)
        compiled = program(spec)
        with raise_together("claim"):
            folder = locks.enter_context(writer_folder(out))
            locks.enter_context(RunLock(folder))
            clear_drafts(folder)
            claim(spec, folder)
        check_shared(out)
        done: Row | None = from_first("result", read_result(folder))
        if done is not None:
            with raise_together("sources"):
                check_sources(spec, out, read_sources(folder), sources(spec, prepared))
            return done
        return _train(spec, prepared, compiled, out, folder, quiet, watch, watchdog)


def agree_on_run(spec: ObjectiveRun) -> None:
    """Raises ConfigError, naming what differs, when processes were started with different runs, jax or devices."""
    if jax.process_count() != process_count():
        raise ConfigError(f"--coordinator: missing; the devices belong to {jax.process_count()} processes")
    devices = f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"
    facts = spec.model_dump(mode="json") | {"jax": jax.__version__, "devices of a process": devices}
    agree(facts, "start all processes alike")


def ready(spec: ObjectiveRun, quiet: bool, out: Path | None = None) -> TrainingData:
    """Checks what can be checked before compiling, sets up the process, and prepares the text: with the tokenizer that
    the run in `out` keeps, where changed data are accepted."""
    kernels(spec)
    for sink in spec.exec.sinks:
        sink.check()
    if spec.eval.sts is not None:
        if process_count() > 1:
            raise ConfigError("eval.sts: measured by one process only; leave it out and use `jaxgpt eval` afterwards")
        read_subsets(locate(spec.eval.sts, "eval.sts"))
    if spec.start_name is not None:
        locate(spec.start_name, "start")
    keep_freed_memory()
    if spec.exec.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    if not quiet:
        for remark in spec.remarks():
            say(f"warning: {remark}")
    saved = None if out is None or not spec.exec.accept_data else out / "tokenizer"
    codec = load_codec(saved) if saved is not None and saved.is_dir() else None
    words = spec.objective.words
    return prepare(spec.data, spec.tokenizer, spec.model.context, quiet=quiet, codec=codec, words=words)


def _train(
    spec: ObjectiveRun,
    prepared: TrainingData,
    compiled: Program,
    out: Path,
    folder: Path,
    quiet: bool,
    watch: Callable[[Row], None] | None,
    watchdog: Watchdog,
) -> Row:
    """`folder` is the `writer_folder`: checkpoints go to `out`, everything else there."""
    rows = Rows(spec)
    key = jax.random.key(spec.seed)
    values = hyper(spec)
    held_out = prepared.val_batches(spec.eval.batch_size or spec.batch_size)
    start_weights = Start(spec, prepared.codec, compiled.state)
    hashes, shared = sources(spec, prepared) | start_weights.sources(), spec.schedule.shared(spec.steps)
    restored = restore(out / "ckpt", compiled.state.saved, suits=partial(suits, spec, out, hashes))
    if restored is not None and restored[2].get("mode", SOLO) != SOLO:
        raise ConfigError(
            f"{out}: its checkpoints were made with other runs as one program; start over in another --out"
        )
    first, state, meta = restored or (0, compiled.init(jax.random.fold_in(key, 0), values), None)
    state = state._replace(frozen=start_weights.frozen) if restored else start_weights.begin(state)
    del start_weights
    measure_sts, measures = similarity(spec, prepared.codec, folder), bool(held_out) or spec.eval.sts is not None
    dropout_key = jax.random.fold_in(key, 1)

    with (
        StopSignal() as stop,
        Watch(out.name, spec.steps, "steps", first, quiet) as line,
        RunWriter(spec, out, folder).open(first, meta, prepared, hashes, line, watch) as writer,
    ):
        record = writer.record
        status, now = record.verdict(), first
        for step in range(first, spec.steps if status is None else first):
            watchdog.moved()
            span = rows.span(step)
            batch = put(partial(prepared.batch, spec.seed), span, compiled.batch_shardings)
            state, metrics = compiled.step(state, batch, dropout_key, values)
            now, better = step + 1, False
            measure = measures and (now == spec.steps or due(now, spec.eval.every))
            logged = measure or now == spec.steps or due(now, spec.exec.log_every)
            record.step(now, span[1] * spec.row_tokens, metrics, logged, metrics["loss"])
            if step == first:
                writer.log.event("first_step", step=now, seconds=round(record.seconds, 3))
                line.restart(now)
                stop.listen()
            if measure:
                with record.paused():
                    loss = validate(compiled, state.weights, held_out, values) if held_out else None
                    more = measure_sts(state.weights)
                better = record.validation(loss, more) and spec.exec.keep_best
            asked = stop.agreed()
            status = record.verdict() or ("finished" if now == spec.steps else "stopped" if asked else None)
            if status is not None or better or due(now, spec.exec.save_every) or now == shared:
                record.flush()
                status = record.verdict() or status
                if not record.broken:
                    with record.paused():
                        writer.save(now, state.saved, better, stamp(spec, hashes), shared)
            if status is not None:
                break
        result = writer.end(status or "finished", now)
    if status == "stopped" and not quiet:
        console.print(f"stopped at step {now} and saved; the same command continues", highlight=False)
    return result


def validate(compiled: Program, weights: Any, held_out: ValPass, values: Hyper) -> float:
    """Mean loss in nats a token over every held-out token."""
    batches = (put(held_out.rows, span, compiled.batch_shardings) for span in held_out.spans)
    parts = [compiled.evaluate(weights, batch, values) for batch in batches]
    pairs = [(float(part["loss"]), float(part["weight"])) for part in jax.device_get(parts)]
    return sum(loss * weight for loss, weight in pairs) / sum(weight for _, weight in pairs)


def due(now: int, every: int | None) -> bool:
    """Whether something happens after step `now`; None: never."""
    return every is not None and now % every == 0
