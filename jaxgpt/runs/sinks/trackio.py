"""trackio: a local tracker with W&B's interface."""

import contextvars
import io
import uuid
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

from jaxgpt.runs.sinks.sink import Facts, Sink, Writer, run_id, scalars


class Trackio(Sink, kind="trackio"):
    """A run of a trackio project, grouped by sweep and arm. Needs the extra `track`.

    trackio keeps it where the variable TRACKIO_DIR says, in its cache by default, and `trackio show` opens it. It has
    no notion of how a run ended. The run's name there is in DIR/trackio.json.
    """

    package: ClassVar[str] = "trackio"

    project: str = "jaxgpt"
    """The project that the run joins."""

    def open(self, directory: Path, facts: Facts) -> Writer:
        """Resumes the run whose name DIR/trackio.json holds."""
        import trackio

        # trackio resumes by name, so that the name must be this run's alone.
        name, _ = run_id(directory / "trackio.json", self.project, lambda: f"{facts.name}-{uuid.uuid4().hex[:8]}")

        def init() -> Any:
            return trackio.init(
                project=self.project,
                name=name,
                group=facts.group,
                config=dict(facts.config),
                resume="allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

        # trackio ends the run that its context variable names; in a context of its own, this run ends no other.
        with redirect_stdout(io.StringIO()):
            run = contextvars.Context().run(init)

        def write(row: Mapping[str, Any]) -> None:
            run.log(scalars(row), step=row["step"])

        def close(status: str) -> None:
            with redirect_stdout(io.StringIO()):  # standard output carries results only
                run.finish()

        return Writer(write, close, run._next_step - 1)  # no public name says what a resumed run holds
