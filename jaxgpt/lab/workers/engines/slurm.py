"""Workers as Slurm jobs, through submitit.

A job holds a command, never run state, so Slurm may requeue it at any moment: after preemption, after the loss of its
node, or by hand. `squeue` says who is alive; `sacct` is not asked, since many clusters keep no accounting.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from pydantic import Field

from jaxgpt.lab.workers.engines.engine import LOST, STOPPED, Engine, log_folder, worker_command
from jaxgpt.spec import ConfigError
from jaxgpt.spec.sizes import Count, Length

TIMEOUTS = 1000
"""How often a job that reaches its time limit goes back into the queue. The sweep's end is what ends it."""


class Slurm(Engine):
    """Jobs of a Slurm cluster: one array of workers, requeued by preemption, time limit and node loss."""

    workers: Count = 4
    partition: str | None = None
    account: str | None = None
    minutes: Length = 240
    """Time limit of a job. A worker that reaches it saves, and its job goes back into the queue."""
    gpus: int = Field(default=0, ge=0, le=2**16)
    """GPUs of each worker."""
    cpus: Count = 1
    """CPU cores of each worker."""
    memory_gb: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Host memory of each worker in GB; the partition's default when unset."""
    extra: dict[str, str | int | bool] = Field(default_factory=dict)
    """More of sbatch's parameters, by their long names: `{qos: low, constraint: a100}`."""
    setup: tuple[str, ...] = ()
    """Shell lines that run in the job before the worker: `module load cuda`."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def start(self, folder: Path) -> "SlurmCrew":
        """Submits the jobs. Raises ConfigError when submitit or Slurm is missing, or sbatch refuses."""
        try:
            from submitit import SlurmExecutor
            from submitit.core.utils import FailedJobError
        except ImportError:
            raise ConfigError("lab.engine: slurm needs submitit; pip install 'jaxgpt[engines]'") from None
        for program in ("sbatch", "squeue", "srun"):
            if shutil.which(program) is None:
                raise ConfigError(
                    f"lab.engine: slurm: no {program!r} on this machine; run on the cluster's login node, or use "
                    "lab.engine.kind=processes"
                )
        executor = SlurmExecutor(log_folder(folder) / "slurm", max_num_timeout=TIMEOUTS)
        executor.update_parameters(**self.parameters(folder))
        try:
            with executor.batch():
                jobs = [executor.submit(Job(worker_command(folder))) for _ in range(self.workers)]
        except FailedJobError as error:
            said = str(error).strip().splitlines()[-1].removeprefix("sbatch: error: ")
            raise ConfigError(
                f"lab.engine: slurm: sbatch refused: {said}; change lab.engine.* to what it accepts"
            ) from None
        return SlurmCrew(jobs[0].job_id.split("_")[0], [str(job.paths.stdout) for job in jobs])

    def parameters(self, folder: Path) -> dict[str, Any]:
        """What submitit's executor is told."""
        parameters: dict[str, Any] = {
            "job_name": f"jaxgpt-{folder.resolve().name}",
            "time": self.minutes,
            "cpus_per_task": self.cpus,
            "srun_args": [f"--cpus-per-task={self.cpus}"],  # since Slurm 22.05 srun does not read sbatch's
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True} | self.extra,
        }
        optional = {
            "partition": self.partition,
            "account": self.account,
            "gpus_per_node": self.gpus or None,
            "mem": None if self.memory_gb is None else f"{round(self.memory_gb * 1024)}MB",
            "setup": list(self.setup) or None,
        }
        return parameters | {name: value for name, value in optional.items() if value is not None}


class Job:
    """What a job runs: the worker, and Slurm's signals put into the one signal that a worker knows."""

    def __init__(self, command: list[str]):
        self.command = command

    def __call__(self) -> None:
        """Runs the worker to its end and takes over its exit status."""
        # A session of its own: Slurm signals whole process groups, and the warning before a time limit, SIGUSR2, would
        # kill the worker. SIGTERM, which comes with requeue, preemption and scancel, is handed on.
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, start_new_session=True)
        signal.signal(signal.SIGTERM, self._hand_on)
        status = self.process.wait()
        if (
            status in (STOPPED, LOST) and _state() == "RUNNING"
        ):  # the grace time of a preemption: Slurm would call this the end
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]])
        if status:
            sys.exit(status if status > 0 else 128 - status)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self.process.terminate()

    def checkpoint(self) -> Any:
        """submitit's answer to SIGUSR2, which comes before a time limit: lets the worker save, and queues it again."""
        from submitit.helpers import DelayedSubmission

        self.process.terminate()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.process.pid, 0)  # not Popen.wait, which this signal interrupts and whose lock is taken
        return DelayedSubmission(Job(self.command))


def _state() -> str:
    """The state of this job. One that is cancelled or requeued no longer counts as running, though its processes do
    run."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={os.environ['SLURM_JOB_ID']}"]
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace").stdout.strip()


class SlurmCrew:
    """The workers of a sweep as one Slurm job array."""

    def __init__(self, job: str, logs: list[str]):
        self.job, self.logs = job, logs
        self._alive = len(logs)

    def alive(self) -> int:
        """Jobs that squeue lists, waiting or running; the number last known while the controller does not answer."""
        # Not `--jobs`: squeue fails on a job that the controller has forgotten.
        command = ["squeue", "--me", "--array", "--noheader", "--format=%F"]
        listed = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
        if listed.returncode == 0:
            self._alive = listed.stdout.split().count(self.job)
        return self._alive

    def describe(self) -> list[str]:
        """A line for each worker: its Slurm job and its log."""
        return [f"job {self.job} ({number}), log {log}" for number, log in enumerate(self.logs)]

    def stop(self) -> None:
        """Cancels the jobs: SIGTERM, and 30 seconds (the cluster's KillWait) to save."""
        subprocess.run(["scancel", self.job], capture_output=True)
