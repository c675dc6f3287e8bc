"""What comes before a run's first step: checks, agreement of all processes, text, programs, a folder of its own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxgpt.disk import cache_dir, clear_drafts
from jaxgpt.evals.sts import read_subsets
from jaxgpt.parallel import keep_freed_memory, training_devices
from jaxgpt.parallel.device_memory import memory_limit
from jaxgpt.parallel.processes.agreement import agree, from_first, process_count, raise_together
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.runs.files.first_process import check_shared, writer_folder
from jaxgpt.runs.files.lock import RunLock
from jaxgpt.runs.files.provenance import read_sources
from jaxgpt.runs.fits import check_devices
from jaxgpt.runs.identity import check_sources, claim, sources, suits
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.run import Row
from jaxgpt.seal import read_result
from jaxgpt.spec import ConfigError
from jaxgpt.terminal import say
from jaxgpt.text import TrainingData
from jaxgpt.text.corpora.locate import locate
from jaxgpt.text.tokenizers.saved import load_codec
from jaxgpt.train.fitting import fitted
from jaxgpt.train.initial_weights import Start
from jaxgpt.train.program import Hyper, Program, program
from jaxgpt.train.run_writer import SOLO
from jaxgpt.train.state import State
from jaxgpt.train.val_tasks import open_tasks


class Opened(NamedTuple):
    """A run that may train in its folder, which no other process has."""

    run: ObjectiveRun
    """With all settled that its data decide."""
    data: TrainingData
    program: Program
    out: Path
    """Where its checkpoints are."""
    folder: Path
    """Where this process writes all else; see `writer_folder`."""
    result: Row | None
    """Of a run that has ended already."""
    logits: Row
    """How many logits exist at once, for the provenance; see `Fitted.facts`."""


class Beginning(NamedTuple):
    """The step and state from which a run goes on, with what it reads."""

    step: int
    """Steps that are done."""
    state: State
    meta: Row | None
    """Of the checkpoint that was restored; None: the run begins."""
    hashes: dict[str, str]
    """SHA-256 of what the run reads, by field."""


@contextmanager
def opened(run: ObjectiveRun, out: Path, quiet: bool) -> Iterator[Opened]:
    """Prepares a run and takes its folder, for as long as the `with` block lasts. Several processes call it alike.

    Raises ConfigError for bad fields, before anything is compiled, or when `out` holds another run.
    """
    _agree_on_run(run)
    check_devices(run, len(training_devices()))
    with raise_together("prepare"):
        data = ready(run, quiet, out)
    agree({"data.corpus": data.corpus_hash}, "give all hosts the same text")
    run = settled(run, data, quiet)
    compiled = program(run)
    with ExitStack() as locks:
        with raise_together("claim"):
            folder = locks.enter_context(writer_folder(out))
            locks.enter_context(RunLock(folder))
            clear_drafts(folder)
            claim(run, folder)
        check_shared(out)
        result: Row | None = from_first("result", read_result(folder))
        if result is not None:
            with raise_together("sources"):
                check_sources(run, out, read_sources(folder), sources(run, data))
            yield Opened(run, data, compiled, out, folder, result, {})
        else:
            fit = fitted(run, from_first("device memory", memory_limit(jax.local_devices()[0])))
            if fit.remark is not None and not quiet:
                say(fit.remark)
            yield Opened(run, data, fit.program, out, folder, result, fit.facts)


def ready(run: ObjectiveRun, quiet: bool, out: Path | None = None) -> TrainingData:
    """Checks what can be checked before compiling, sets up the process, and prepares the text: with the tokenizer that
    the run in `out` keeps, where changed data are accepted."""
    kernels(run)
    for sink in run.exec.sinks:
        sink.check()
    if run.eval.sts is not None:
        if process_count() > 1:
            raise ConfigError("eval.sts: measured by one process only; leave it out and use `jaxgpt eval` afterwards")
        read_subsets(locate(run.eval.sts, "eval.sts"))
    open_tasks(run)
    if run.start_name is not None:
        locate(run.start_name, "start")
    keep_freed_memory()
    if run.exec.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    saved = None if out is None or not run.exec.accept_data else out / "tokenizer"
    codec = load_codec(saved) if saved is not None and saved.is_dir() else None
    return run.prepare(quiet, codec)


def settled(run: ObjectiveRun, data: TrainingData, quiet: bool) -> ObjectiveRun:
    """The run with what its data decide, and a warning for what is hardly meant."""
    run = run.settled(data)
    if not quiet:
        for remark in run.remarks():
            say(f"warning: {remark}")
    return run


def begin(opened: Opened, key: Any, values: Hyper) -> Beginning:
    """The newest checkpoint that is the run's, else its first weights: drawn from `key`, or those of `run.start`."""
    run, compiled, out = opened.run, opened.program, opened.out
    start = Start(run, opened.data.codec, compiled.state)
    hashes = sources(run, opened.data) | start.sources()
    restored = restore(out / "ckpt", compiled.state.saved, suits=partial(suits, run, out, hashes))
    if restored is None:
        return Beginning(0, start.begin(compiled.init(key, values), key), None, hashes)
    step, state, meta = restored
    if meta.get("mode", SOLO) != SOLO:
        raise ConfigError(
            f"{out}: its checkpoints were made with other runs as one program; start over in another --out"
        )
    return Beginning(step, state._replace(frozen=start.frozen), meta, hashes)


def _agree_on_run(run: ObjectiveRun) -> None:
    """Raises ConfigError, naming what differs, when processes were started with different runs, jax or devices."""
    if jax.process_count() != process_count():
        raise ConfigError(f"--coordinator: missing; the devices belong to {jax.process_count()} processes")
    devices = f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"
    facts = run.model_dump(mode="json") | {"jax": jax.__version__, "devices of a process": devices}
    agree(facts, "start all processes alike")
