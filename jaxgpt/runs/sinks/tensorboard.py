"""TensorBoard: a folder of event files."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any, ClassVar

import yaml

from jaxgpt.runs.sinks.sink import Facts, Sink, Writer, scalars


class TensorBoard(Sink, kind="tensorboard"):
    """Event files under DIR/tensorboard: a scalar for each metric, and the config as text. Needs the extra `track`.

    `tensorboard --logdir runs/SWEEP` shows a sweep: the run's path there is its name, its arm and its seed.
    """

    package: ClassVar[str] = "tensorboard"

    def open(self, directory: Path, facts: Facts) -> Writer:
        """Each start adds a file, and TensorBoard joins them."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = directory / "tensorboard"
        first = not folder.exists()
        writer = EventFileWriter(str(folder))
        if first:
            markdown = indent(yaml.safe_dump(dict(facts.config), sort_keys=False), "    ")
            text = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
            metadata = create_summary_metadata(display_name="config", description=facts.name)
            writer.add_event(
                Event(summary=Summary(value=[Summary.Value(tag="config", metadata=metadata, tensor=text)]))
            )

        def write(row: Mapping[str, Any]) -> None:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars(row).items()]
            writer.add_event(Event(step=row["step"], summary=Summary(value=values)))
            writer.flush()

        def close(status: str) -> None:
            writer.close()

        return Writer(write, close, -1 if first else None)
