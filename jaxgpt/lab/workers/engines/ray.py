"""Workers as Ray tasks, for a pool of machines without a scheduler. A task holds a command, never run state."""

import os
import socket
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from jaxgpt.lab.workers.engines.engine import LOST, PATIENCE, STOPPED, Engine, log_folder, start_process, worker_command
from jaxgpt.spec import ConfigError
from jaxgpt.spec.sizes import Count

CARRIED = ("JAX_", "JAXGPT_", "XLA_")
"""Variables of the environment that workers take from here; the rest is their machine's own."""


class Ray(Engine):
    """Tasks of a Ray cluster, started again elsewhere when their machine is lost. This process must stay."""

    workers: Count = 4
    address: str = "auto"
    """The cluster's, `HOST:6379`; `auto` finds the one that runs on this machine, `local` starts one of its own."""
    cpus: float = Field(default=1, ge=0, le=2**16)
    """CPU cores of each worker."""
    gpus: float = Field(default=0, ge=0, le=2**16)
    """GPUs of each worker."""

    def start(self, folder: Path) -> "RayCrew":
        """Queues the tasks. Raises ConfigError when Ray is not installed or no cluster answers."""
        try:
            import ray
        except ImportError:
            raise ConfigError("lab.engine: ray needs Ray; pip install 'jaxgpt[engines]'") from None
        if not ray.is_initialized():
            try:
                _knock(self.address)
                ray.init(address=self.address, log_to_driver=False)
            except OSError:
                raise ConfigError(
                    f"lab.engine.address: no Ray cluster at {self.address!r}; start one with 'ray start --head', or "
                    "name its HOST:PORT"
                ) from None
        logs = log_folder(folder)
        names = [logs / f"ray-{number}.log" for number in range(self.workers)]
        environment = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
        task = ray.remote(work).options(
            num_cpus=self.cpus, num_gpus=self.gpus, max_retries=-1, retry_exceptions=[Stopped]
        )
        return RayCrew([task.remote(worker_command(folder), environment, Path.cwd(), log) for log in names], names)


def _knock(address: str) -> None:
    """Raises OSError when nobody listens at `HOST:PORT`, which Ray would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class Stopped(Exception):
    """A signal stopped the worker after it had saved, as happens on a machine that is about to go."""


def work(command: list[str], environment: dict[str, str], directory: Path, log: Path) -> int:
    """The task: one worker, to its end. Returns its exit status; raises `Stopped`, upon which Ray queues it again."""
    process = start_process(command, environment, log, cwd=directory)
    try:
        while (status := process.poll()) is None:
            time.sleep(0.5)  # not `wait`: `ray.cancel` raises KeyboardInterrupt between two lines of Python only
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if status in (STOPPED, LOST):
        raise Stopped
    return status


class RayCrew:
    """Tasks that belong to this process: they end with it."""

    def __init__(self, tasks: list[Any], logs: list[Path]):
        self.tasks, self.logs = tasks, logs

    def alive(self) -> int:
        """Tasks that have not ended."""
        import ray

        return len(ray.wait(self.tasks, num_returns=len(self.tasks), timeout=0)[1])

    def describe(self) -> list[str]:
        """A line for each worker: its Ray task and its log."""
        return [f"task {task.task_id().hex()}, log {log}" for task, log in zip(self.tasks, self.logs, strict=True)]

    def stop(self) -> None:
        """Cancels the tasks, queued and running, and gives the running ones `PATIENCE` seconds to save and end."""
        import ray

        for task in self.tasks:
            ray.cancel(task)
        ray.wait(self.tasks, num_returns=len(self.tasks), timeout=PATIENCE)
