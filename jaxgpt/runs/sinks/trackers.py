"""All trackers of one run: opened, fed, closed. None of them can stop the run."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from jaxgpt.runs.files.folder import METRICS, read_metrics
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.sinks.sink import Facts, Writer
from jaxgpt.terminal import say


class Trackers:
    """The sinks of `run`, for the run kept in `directory`; a context manager.

        with Trackers(run, out) as trackers, RunDir(out, restored) as log:
            trackers.write(row)
            trackers.close("finished")

    A sink that fails gets one line on the terminal and no more rows: metrics.jsonl is the record. Enter before RunDir
    cuts metrics.jsonl back to the checkpoint: what a tracker lacks of it is sent, and a row that it has is not sent
    again when a resumed run computes it again. Leaving without `close` closes with `failed`, or with `stopped` at
    Ctrl-C.
    """

    def __init__(self, run: ObjectiveRun, directory: Path):
        self._run, self._directory = run, Path(directory)
        self._writers: dict[str, Writer] = {}
        self._last: dict[str, int] = {}

    def __enter__(self) -> "Trackers":
        sinks = self._run.exec.sinks
        if not sinks:
            return self
        for sink in sinks:
            sink.check()
        rows = read_metrics(self._directory) if (self._directory / METRICS).exists() else []
        facts = Facts.of(self._run.model_dump(mode="json"), self._directory)
        for i, sink in enumerate(sinks):
            label = f"exec.sinks.{i} ({sink.kind})"
            try:
                writer = self._writers[label] = sink.open(self._directory, facts)
            except Exception as error:
                self._drop(label, error)
            else:
                known = rows[-1]["step"] if rows else -1
                self._last[label] = known if writer.last is None else writer.last
        for row in rows:
            self.write(row)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        self.close("stopped" if kind is not None and not issubclass(kind, Exception) else "failed")

    def write(self, row: Mapping[str, Any]) -> None:
        """Hands a row to every tracker that has not had it."""
        for label, writer in list(self._writers.items()):
            if row["step"] <= self._last[label]:
                continue
            self._last[label] = row["step"]
            try:
                writer.write(row)
            except Exception as error:
                self._drop(label, error)

    def close(self, status: str) -> None:
        """Tells every tracker how the run has ended. A second call does nothing."""
        while self._writers:
            label, writer = self._writers.popitem()
            try:
                writer.close(status)
            except Exception as error:
                self._drop(label, error)

    def _drop(self, label: str, error: Exception) -> None:
        self._writers.pop(label, None)
        said = str(error).strip().splitlines() or [""]
        line = f"{self._directory}: {label} fails and gets no more rows: {type(error).__name__}: {said[0]}"
        say(line)
