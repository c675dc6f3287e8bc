"""The metrics sink seam: trackers besides metrics.jsonl. They are optional and never the record."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxgpt.spec import ConfigError, Seam

Write = Callable[[Mapping[str, Any]], None]


class Sink(Seam, seam="sink"):
    """Base of all metrics sinks."""

    @abstractmethod
    def open(self, directory: Path) -> Write:
        """Opens the tracker for a run's directory; returns what takes each metrics row."""


class TensorBoard(Sink, kind="tensorboard"):
    """Event files under DIR/tensorboard, one scalar for each metric. Needs the extra `track`."""

    def open(self, directory: Path) -> Write:
        """Raises ConfigError when TensorBoard is not installed."""
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise ConfigError("exec.sinks: tensorboard is not installed; pip install 'jaxgpt[track]'") from None
        writer = EventFileWriter(str(directory / "tensorboard"))

        def write(row: Mapping[str, Any]) -> None:
            values = [
                Summary.Value(tag=name, simple_value=float(held))
                for name, held in row.items()
                if name != "step" and isinstance(held, int | float)
            ]
            writer.add_event(Event(step=row["step"], summary=Summary(value=values)))
            writer.flush()

        return write
