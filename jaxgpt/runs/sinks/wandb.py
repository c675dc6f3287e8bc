"""The sink for Weights & Biases, online or offline."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxgpt.runs.sinks.sink import Facts, Sink, Writer, run_id, scalars


class Wandb(Sink, kind="wandb"):
    """A run of a Weights & Biases project, grouped by sweep and arm. Needs the extra `track`.

    Its own files lie under DIR/wandb, its id in DIR/wandb.json. `wandb sync DIR/wandb/offline-*` sends offline runs,
    in which a kill -9 leaves a hole: W&B holds what came in its last 15 seconds in memory.
    """

    package: ClassVar[str] = "wandb"

    project: str = "jaxgpt"
    """The project that the run joins."""
    entity: str | None = None
    """User or team; None: the account's default."""
    mode: Literal["online", "offline"] | None = None
    """None: what the variable WANDB_MODE says, else online."""

    def open(self, directory: Path, facts: Facts) -> Writer:
        """Resumes the run whose id DIR/wandb.json holds."""
        import wandb

        store = f"{self.entity}/{self.project}" if self.entity else self.project
        identity, resumed = run_id(directory / "wandb.json", store, lambda: uuid.uuid4().hex)
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            id=identity,
            resume="allow",
            reinit="create_new",  # the process may hold other runs, which stay open
            name=facts.name,
            group=facts.group,
            tags=[f"{name}:{value}" for name, value in facts.tags.items()],
            config=dict(facts.config),
            dir=str(directory),
            # Standard output belongs to the process, which may hold several runs, not to one of them.
            settings=wandb.Settings(silent=True, console="off"),
        )

        def write(row: Mapping[str, Any]) -> None:
            run.log(scalars(row), step=row["step"], commit=True)

        def close(status: str) -> None:
            run.summary["status"] = status
            if status == "stopped":
                run.mark_preempting()  # the same command goes on: neither finished nor crashed
            run.finish(exit_code=0 if status == "finished" else 1)

        # Offline there is no server to ask what it has.
        return Writer(write, close, None if resumed and run.offline else run.starting_step - 1)
