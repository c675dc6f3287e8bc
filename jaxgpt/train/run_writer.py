"""A run's folder, written from the start of a run to its end: what every loop that trains leaves behind."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from jaxgpt.disk import strict, write_json_atomic
from jaxgpt.runs.checkpoint.checkpoint import save
from jaxgpt.runs.files.folder import RunDir
from jaxgpt.runs.files.provenance import provenance
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.run import Row
from jaxgpt.runs.sinks.trackers import Trackers
from jaxgpt.terminal import Watch
from jaxgpt.text import TrainingData
from jaxgpt.train.measurements import Record

SOLO, FUSED = "solo", "fused"
"""How a run was computed, in its result: alone, or with others. The two agree to rounding, not to the bit."""


class RunWriter:
    """Events, status, tokenizer, provenance, rows of metrics, checkpoints and result of one run.

    A context manager once it is opened; hold the folder's `RunLock`. Checkpoints go to `out`, all else to `folder`
    (default: `out`; see `writer_folder`). `lanes` is how many runs train as one program with this; None: none.
    """

    def __init__(
        self,
        run: ObjectiveRun,
        out: Path,
        folder: Path | None = None,
        lanes: int | None = None,
        facts: Row | None = None,
    ):
        """`facts` join the provenance."""
        self.facts = facts or {}
        self.run, self.out, self.folder, self.lanes = run, out, folder or out, lanes
        self.result: Row | None = None
        """Set once the run has ended."""

    def open(
        self,
        first: int,
        meta: Row | None,
        prepared: TrainingData,
        hashes: Mapping[str, str],
        line: Watch,
        watch: Callable[[Row], None] | None = None,
    ) -> "RunWriter":
        """Starts, or resumes at step `first` with a checkpoint's `meta`. `hashes` are those of what the run reads now;
        `line` shows progress, `watch` is called with every row."""
        self._stack = ExitStack()
        tracked = self.run if self.folder == self.out else self.run.evolve(exec=self.run.exec.evolve(sinks=()))
        self._trackers = self._stack.enter_context(Trackers(tracked, self.folder))
        self.log = self._stack.enter_context(RunDir(self.folder, None if meta is None else first))
        among = {} if self.lanes is None else {"lanes": self.lanes}
        self.log.event("start" if meta is None else "resume", step=first, **among)
        self._running(first)
        if (old := (meta or {}).get("sources", hashes)) != hashes:
            self.log.event("accepted_data", step=first, old=old, new=hashes)
        prepared.codec.save(self.folder / "tokenizer")
        facts = provenance(self.run, prepared) | self.facts | ({} if self.lanes is None else {FUSED: self.lanes})
        write_json_atomic(self.folder / "provenance.json", facts)
        listeners = [self.log.metrics, self._trackers.write, *([watch] if watch else [])]
        self.record = Record(self.run, listeners, line, meta, prepared.val_tokens_per_byte, 1 / (self.lanes or 1))
        return self

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        self._stack.__exit__(kind, value, trace)

    @property
    def mode(self) -> str:
        """How the run is computed: `solo`, or `fused` with others."""
        return SOLO if self.lanes is None else FUSED

    def save(self, step: int, state: Any, best: bool, stamp: Row, pin: int) -> None:
        """Writes a checkpoint with the record as it stands; the record has been flushed, and is paused. `best`: whether
        it is the best so far; the one of step `pin` is kept for good."""
        self.log.sync()
        # Killed while it saves, a group goes back to the step before, which all its lanes must still have.
        keep = self.run.exec.keep if self.lanes is None else max(2, self.run.exec.keep)
        save(self.out / "ckpt", step, state, self.record.meta() | stamp | {"mode": self.mode}, keep, best, pin)
        self._running(step)

    def end(self, status: str, step: int) -> Row:
        """Writes the result and returns it; a fused run may go on being computed, and nobody listens."""
        result: Row = strict(self.record.result(status))[0] | {"mode": self.mode}
        self.log.event(status, step=step)
        self.log.status(status=status, step=step, steps=self.run.steps)
        self.log.result(**result)
        self._trackers.close(status)
        self.result = result
        return result

    def _running(self, step: int) -> None:
        self.log.status(status="running", step=step, steps=self.run.steps)
