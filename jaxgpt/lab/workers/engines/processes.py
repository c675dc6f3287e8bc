"""Workers as processes of this machine."""

import os
import signal
import subprocess
import time
from pathlib import Path

from pydantic import Field

from jaxgpt.lab.workers.engines.engine import LOST, PATIENCE, Engine, log_folder, start_process, worker_command
from jaxgpt.spec import ConfigError
from jaxgpt.spec.sizes import Count, Layers


class Processes(Engine):
    """Worker processes on this machine, each logging to workers/process-N.log."""

    workers: Layers = 2
    threads: Count | None = None
    """CPU threads of each worker; all of the machine's when unset. Sums may then round differently: keep one setting
    for all runs that are compared."""
    gpus: int = Field(default=0, ge=0, le=2**16)
    """GPUs of each worker, set through CUDA_VISIBLE_DEVICES; when 0 each sees all there are."""
    restarts: int = Field(default=3, ge=0, le=2**16)
    """How often each worker is started again after a signal killed it, as the kernel does when memory runs out, or
    after it lost its claim."""

    def start(self, folder: Path) -> "ProcessCrew":
        """Starts the workers. Raises ConfigError when CUDA_VISIBLE_DEVICES names too few GPUs."""
        command, logs, shares = worker_command(folder), log_folder(folder), self.shares()
        names = [logs / f"process-{number}.log" for number in range(self.workers)]
        started = [ProcessWorker(command, *parts, self.restarts) for parts in zip(shares, names, strict=True)]
        return ProcessCrew(started)

    def shares(self) -> list[dict[str, str]]:
        """Each worker's part of the machine, as variables of its environment."""
        threads = {} if self.threads is None else dict.fromkeys(("NPROC", "OMP_NUM_THREADS"), str(self.threads))
        if not self.gpus:
            return [threads] * self.workers
        needed = self.workers * self.gpus
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        ids = list(map(str, range(needed))) if named is None else named.split(",")
        if len(ids) < needed:
            raise ConfigError(
                f"lab.engine.gpus: {self.workers} workers with {self.gpus} each need {needed}, but "
                f"CUDA_VISIBLE_DEVICES names {len(ids)}; lower lab.engine.workers"
            )
        parts = [ids[at : at + self.gpus] for at in range(0, needed, self.gpus)]
        return [{**threads, "CUDA_VISIBLE_DEVICES": ",".join(part)} for part in parts]


class ProcessWorker:
    """One process, started again while it may be."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, restarts: int):
        self.command, self.environment, self.log, self.restarts = command, environment, log, restarts
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches the worker once, through `stop`. A second signal would kill it.
        return start_process(self.command, self.environment, self.log, start_new_session=True)

    def running(self) -> bool:
        """Whether it runs; a worker that a signal killed is started again first."""
        status = self.process.poll()
        if status is not None and (status < 0 or status == LOST) and self.restarts > 0:
            self.restarts -= 1
            self.process = self._start()
            status = None
        return status is None


class ProcessCrew:
    """Worker processes. They live on when this process is killed; what they do then is as good."""

    def __init__(self, workers: list[ProcessWorker]):
        self.workers = workers

    def alive(self) -> int:
        """How many run. Call it now and then: it is what starts killed workers again."""
        return sum([worker.running() for worker in self.workers])

    def describe(self) -> list[str]:
        """Process id and log of each."""
        return [f"process {worker.process.pid}, log {worker.log}" for worker in self.workers]

    def stop(self) -> None:
        """Asks all to save and end; kills those that have not after `PATIENCE` seconds."""
        for worker in self.workers:
            worker.restarts = 0
            worker.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        for worker in self.workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
