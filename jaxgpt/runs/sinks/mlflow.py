"""The MLflow sink: a server, or a SQLite file in the sweep's folder."""

import fcntl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

from jaxgpt.runs.sinks.sink import Facts, Sink, Writer, run_id, scalars

_ENDS = {"finished": "FINISHED", "stopped": "KILLED"}
"""MLflow's word for how a run ended; the others are FAILED, and the tag `status` has ours."""
_BATCH = 100
"""Parameters that MLflow takes at once."""


class Mlflow(Sink, kind="mlflow"):
    """A run of an MLflow experiment: the config as parameters, sweep, arm and seed as tags. Needs the extra `track`.

    Its id is in DIR/mlflow.json.
    """

    package: ClassVar[str] = "mlflow"

    tracking_uri: str | None = None
    """Server or store; None: an SQLite file, mlflow.db, in the sweep's folder or the run's own."""
    experiment: str | None = None
    """The MLflow experiment that the run joins; None: the sweep's name, else jaxgpt."""

    def open(self, directory: Path, facts: Facts) -> Writer:
        """Resumes the run whose id DIR/mlflow.json holds."""
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param, RunTag

        uri = self.tracking_uri or f"sqlite:///{facts.folder / 'mlflow.db'}"
        with _alone(facts.folder) if self.tracking_uri is None else nullcontext():
            client = MlflowClient(tracking_uri=uri)  # never mlflow.start_run: that is the process's current run
        experiment = self.experiment or facts.tags.get("experiment", "jaxgpt")

        def create() -> str:
            created = client.create_run(_experiment_id(client, experiment), run_name=facts.name)
            client.log_batch(created.info.run_id, tags=[RunTag(name, value) for name, value in facts.tags.items()])
            params = [Param(name, str(value)) for name, value in _flat(facts.config)]
            for start in range(0, len(params), _BATCH):
                client.log_batch(created.info.run_id, params=params[start : start + _BATCH])
            return str(created.info.run_id)

        identity, resumed = run_id(directory / "mlflow.json", f"{uri} {experiment}", create)
        if resumed:
            client.update_run(identity, status="RUNNING")

        def write(row: Mapping[str, Any]) -> None:
            now = int(time.time() * 1000)
            client.log_batch(identity, [Metric(name, value, now, row["step"]) for name, value in scalars(row).items()])

        def close(status: str) -> None:
            client.set_tag(identity, "status", status)
            client.set_terminated(identity, _ENDS.get(status, "FAILED"))

        return Writer(write, close, None if resumed else -1)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Workers that make the tables of one SQLite file at once break it, so they take turns."""
    with open(folder / "mlflow.lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _experiment_id(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another run of the sweep was faster
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return str(experiment.experiment_id)


def _flat(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """`{"optim": {"lr": 1e-3}}` -> `("optim.lr", 1e-3)`."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
