"""The loop for runs that train as one program: the solo loop's page, a lane a run."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgpt.disk import clear_drafts
from jaxgpt.objectives import Objective
from jaxgpt.parallel.backend import start
from jaxgpt.runs.checkpoint.checkpoint import restore, steps
from jaxgpt.runs.files.folder import check_logs
from jaxgpt.runs.files.lock import RunLock
from jaxgpt.runs.identity import claim, sources, stamp, suits
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.run import Row
from jaxgpt.seal import read_result
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.terminal import Watch
from jaxgpt.text import TrainingData
from jaxgpt.train.figures import figures
from jaxgpt.train.fused.lane_metrics import StepMetrics
from jaxgpt.train.fused.program import FusedProgram, fused_program
from jaxgpt.train.initial_weights import Start
from jaxgpt.train.opening import ready, settled
from jaxgpt.train.program import hyper
from jaxgpt.train.run_writer import FUSED, RunWriter
from jaxgpt.train.stop_signal import StopSignal
from jaxgpt.train.validation import due

Watcher = Callable[[int, Row], None]
"""Called with the index of a run and a row of its metrics."""
DAMAGED = "damaged"
"""Status of a run whose files cannot be believed; `error` says which. It is left as it is."""


def run_fused(
    specs: Sequence[ObjectiveRun], outs: Sequence[Path], quiet: bool = False, watch: Watcher | None = None
) -> list[Row]:
    """`run` for several runs that differ in seed and inputs only, as one program. Returns each result.

    Runs that have ended already are returned as they are. The others go on from the newest step that all of them have
    saved. A run whose own files are damaged stops no other: its status is `damaged`. Raises ConfigError as `run` does,
    and when the runs cannot be fused.
    """
    start()
    prepared = ready(specs[0], quiet, outs[0])
    runs = [settled(spec, prepared, quiet or i > 0) for i, spec in enumerate(specs)]
    if len({run.signature() for run in runs}) > 1:
        raise ConfigError("lab.fuse: the runs of a group differ in more than seed and inputs; use lab.fuse=off")
    ended = [_ended(out) for out in outs]  # for good: not even their lock is touched
    with ExitStack() as locks:
        for i, (run, out) in enumerate(zip(runs, outs, strict=True)):
            if ended[i] is None:
                locks.enter_context(RunLock(out))
                clear_drafts(out)
                ended[i] = _claimed(run, out)
        left = [i for i, result in enumerate(ended) if result is None]
        if left:
            compiled = fused_program(runs[0], len(runs))  # of all: another number of lanes is another arithmetic
            lanes = [RunWriter(runs[i], outs[i], lanes=len(left)) for i in left]
            watches = [None if watch is None else (lambda row, i=i: watch(i, row)) for i in left]
            _train(lanes, prepared, compiled, quiet, watches)
            for i, lane in zip(left, lanes, strict=True):
                ended[i] = lane.result
    return [result for result in ended if result is not None]


def _ended(out: Path) -> Row | None:
    """The result of a run that has ended, other than by a signal."""
    try:
        return read_result(out)
    except JaxgptError as error:
        return {"status": DAMAGED, "error": str(error)}


def _claimed(run: ObjectiveRun, out: Path) -> Row | None:
    """Makes the directory the run's; its result where it has ended meanwhile."""
    try:
        claim(run, out)
        check_logs(out)
    except JaxgptError as error:
        return {"status": DAMAGED, "error": str(error)}
    return _ended(out)


def _train(
    lanes: list[RunWriter], prepared: TrainingData, compiled: FusedProgram, quiet: bool, watches: Sequence[Any]
) -> None:
    spec = lanes[0].run
    fold = lambda keys, number: jax.device_put(  # noqa: E731
        jax.vmap(jax.random.fold_in, (0, None))(keys, number), compiled.lanes
    )
    keys, values = keys_and_inputs([lane.run for lane in lanes], compiled)
    dropout_keys = fold(keys, 1)
    held_out = prepared.val_batches(spec.eval.batch_size or spec.batch_size)
    starts = _starts(lanes, prepared, compiled)
    hashes, shared = sources(spec, prepared) | starts[0].sources(), spec.schedule.shared(spec.steps)
    restored = _restore(lanes, compiled, hashes)
    metas: Sequence[Row | None] = [None] * len(lanes)
    first = 0
    if restored is None:
        init_keys = fold(keys, 0)
        state = compiled.init(init_keys, values)
        if spec.start is not None:
            drawn = jax.device_get(state.saved)
            by_lane = [jax.tree.map(lambda x, i=i: x[i], drawn) for i in range(len(lanes))]
            state = compiled.stack([own.begin(by_lane[i], init_keys[i]).saved for i, own in enumerate(starts)])
    else:
        first, states, metas = restored
        state = compiled.stack(states)
    state = state._replace(frozen=starts[0].frozen)
    del starts

    index = {lane: i for i, lane in enumerate(lanes)}
    with ExitStack() as files, StopSignal() as stop, Watch("fused", spec.steps, "steps", first, quiet) as line:
        for lane, meta, tell in zip(lanes, metas, watches, strict=True):
            silent = Watch(lane.out.name, spec.steps, quiet=True)
            files.enter_context(lane.open(first, meta, prepared, hashes, silent, tell))
            if early := lane.record.verdict():
                lane.end(early, first)
        for step in range(first, spec.steps):
            open_lanes = [lane for lane in lanes if lane.result is None]
            if not open_lanes:
                break
            rows = (step * spec.batch_size, (step + 1) * spec.batch_size)
            batch = compiled.stack([prepared.batch(lane.run.seed, *rows) for lane in lanes])
            state, metrics = compiled.step(state, batch, dropout_keys, values)
            now, measured = step + 1, StepMetrics(metrics)
            measure = len(held_out) > 0 and (now == spec.steps or due(now, spec.eval.every))
            logged = measure or now == spec.steps or due(now, spec.exec.log_every)
            for lane in open_lanes:
                lane.record.step(
                    now, rows[1] * spec.row_tokens, measured.lane(index[lane]), logged, measured.device["loss"]
                )
            if step == first:
                line.restart(now)
                stop.listen()
            better = dict.fromkeys(open_lanes, False)
            if measure:
                with ExitStack() as pauses:
                    for lane in open_lanes:
                        pauses.enter_context(lane.record.paused())
                    passes = _validate(compiled, spec.objective, state.weights, held_out, values)
                for lane in open_lanes:
                    better[lane] = lane.record.validation(passes[index[lane]]) and spec.exec.keep_best
            ended = "finished" if now == spec.steps else "stopped" if stop.asked else None
            status = {lane: lane.record.verdict() or ended for lane in open_lanes}
            # A step that one lane keeps, all keep: the group goes on from a step that all of them have.
            whole = (
                now == shared or any(better.values()) or any(due(now, lane.run.exec.save_every) for lane in open_lanes)
            )
            saved = open_lanes if whole else [lane for lane in open_lanes if status[lane]]
            if saved:
                for lane in open_lanes:
                    lane.record.flush()
                    status[lane] = lane.record.verdict() or status[lane]
                with ExitStack() as pauses:
                    for lane in open_lanes:
                        pauses.enter_context(lane.record.paused())
                    host_state = jax.device_get(state.saved)
                    for lane in saved:
                        if not lane.record.broken:
                            own = jax.tree.map(lambda x, i=index[lane]: x[i], host_state)
                            lane.save(now, own, better[lane], stamp(lane.run, hashes), shared)
            for lane in open_lanes:
                if (how := status[lane]) is not None:
                    lane.end(how, now)
            line.update(now, lanes=str(len(open_lanes)))
        for lane in lanes:
            if lane.result is None:  # killed between its last checkpoint and its result
                lane.end("finished", first)


def _starts(lanes: list[RunWriter], prepared: TrainingData, compiled: FusedProgram) -> list[Start]:
    """The start weights of each lane; lanes that start from the same weights share them."""
    place = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=compiled.whole)  # noqa: E731
    like = jax.tree.map(place, compiled.lane)
    by_name = {lane.run.start_name: Start(lane.run, prepared.codec, like) for lane in lanes}
    return [by_name[lane.run.start_name] for lane in lanes]


def keys_and_inputs(runs: Sequence[ObjectiveRun], compiled: FusedProgram) -> tuple[jax.Array, Any]:
    """Keys and inputs of the lanes, (L,) each."""
    seeds = compiled.stack([np.uint32(run.seed) for run in runs])
    keys = jax.device_put(jax.vmap(jax.random.key)(seeds), compiled.lanes)
    return keys, compiled.stack([hyper(run) for run in runs])


def _restore(
    lanes: list[RunWriter], compiled: FusedProgram, hashes: Mapping[str, str]
) -> tuple[int, list[Any], list[Row]] | None:
    """`(step, states, metas)` at the newest step of which every lane has a checkpoint made fused; None: start over."""
    like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), compiled.lane.saved)
    common = set.intersection(*(set(steps(lane.out / "ckpt")) for lane in lanes))
    for step in sorted(common, reverse=True):
        restored = [
            restore(lane.out / "ckpt", like, step, suits=partial(suits, lane.run, lane.out, hashes)) for lane in lanes
        ]
        fused = [each for each in restored if each is not None and each[2].get("mode") == FUSED]
        if len(fused) == len(lanes):
            return step, [state for _, state, _ in fused], [meta for _, _, meta in fused]
    return None


def _validate(
    compiled: FusedProgram, objective: Objective, weights: Any, batches: Sequence[Any], values: Any
) -> list[dict[str, float]]:
    """Lane by lane, what `figures` makes of a pass over everything held out."""
    parts = [compiled.evaluate(weights, jax.device_put(batch, compiled.whole), values) for batch in batches]
    host = jax.device_get(parts)
    lanes = range(compiled.size)
    return [figures(objective, [{name: x[i] for name, x in part.items()} for part in host]) for i in lanes]
