"""One run among those that train as one program: its own files, its own end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from jaxgpt.disk import strict, write_json_atomic
from jaxgpt.runs.checkpoint.checkpoint import save
from jaxgpt.runs.files.folder import RunDir
from jaxgpt.runs.files.provenance import provenance
from jaxgpt.runs.run import Run
from jaxgpt.runs.sinks.trackers import Trackers
from jaxgpt.terminal import Watch
from jaxgpt.text import TrainingData
from jaxgpt.train.measurements import Record, Row

FUSED = "fused"


class LaneMetrics(Mapping[str, Any]):
    """A lane's share of a step's metrics. The first one read waits for the device."""

    def __init__(self, step: "StepMetrics", index: int):
        self._step, self._index = step, index

    def __getitem__(self, name: str) -> Any:
        return self._step.fetch(name)[self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._step.device)

    def __len__(self) -> int:
        return len(self._step.device)


class StepMetrics:
    """What a step measured, (L,) each, left on the device until somebody reads it: most steps, one number is."""

    def __init__(self, metrics: Mapping[str, jax.Array]):
        self.device = metrics
        self._host: dict[str, np.ndarray] = {}

    def fetch(self, name: str) -> np.ndarray:
        """One metric of all lanes, as numpy."""
        if name not in self._host:
            self._host[name] = jax.device_get(self.device[name])
        return self._host[name]

    def lane(self, index: int) -> LaneMetrics:
        """One lane's."""
        return LaneMetrics(self, index)


class Lane:
    """Writer of a run's directory, as the solo loop writes it; a context manager. Hold the directory's `RunLock`."""

    def __init__(self, run: Run, out: Path, index: int):
        self.run, self.out, self.index = run, out, index
        self.result: Row | None = None
        """Set once the run has ended."""

    def open(
        self,
        first: int,
        meta: Row | None,
        lanes: int,
        prepared: TrainingData,
        watch: Callable[[Row], None] | None,
    ) -> "Lane":
        """Starts, or resumes at `first` with a checkpoint's `meta`, among `lanes` runs."""
        self._stack = ExitStack()
        trackers = self._stack.enter_context(Trackers(self.run, self.out))
        self.log = self._stack.enter_context(RunDir(self.out, first if meta is not None else None))
        self._trackers = trackers
        self.log.event("start" if meta is None else "resume", step=first, lanes=lanes)
        self.log.status(status="running", step=first, steps=self.run.steps)
        prepared.codec.save(self.out / "tokenizer")
        write_json_atomic(self.out / "provenance.json", provenance(self.run, prepared) | {FUSED: lanes})
        listeners = [self.log.metrics, trackers.write, *([watch] if watch else [])]
        quiet = Watch(self.out.name, self.run.steps, quiet=True)
        self.record = Record(self.run, listeners, quiet, meta, prepared.val_tokens_per_byte, 1 / lanes)
        return self

    def __enter__(self) -> "Lane":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        self._stack.__exit__(kind, value, trace)

    def save(self, step: int, stacked: Any, best: bool, stamp: Row, pin: int) -> None:
        """Writes a checkpoint from the state of all lanes, on the host. The record has read the step."""
        self.log.sync()
        state = jax.tree.map(lambda x: x[self.index], stacked)
        keep = max(2, self.run.exec.keep)  # killed while it saves, a group goes back to the step before
        save(self.out / "ckpt", step, state, self.record.meta() | stamp | {"mode": FUSED}, keep, best, pin)
        self.log.status(status="running", step=step, steps=self.run.steps)

    def end(self, status: str, step: int) -> None:
        """Writes the result; the lane goes on being computed, and nobody listens."""
        result: Row = strict(self.record.result(status))[0] | {"mode": FUSED}
        self.log.event(status, step=step)
        self.log.status(status=status, step=step, steps=self.run.steps)
        self.log.result(**result)
        self._trackers.close(status)
        self.result = result
