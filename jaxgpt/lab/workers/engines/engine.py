"""The engine seam. Every scheduler does the same small thing: it starts N identical workers on a sweep's folder.

A worker claims one run after another, takes over those of a worker that died, and leaves its truth in the runs' own
files. So an engine carries no run state: whatever it loses, another worker or the same command again makes good.
Exit status of a worker: 0 every run has ended, 4 some are left that failed, 70 its claim was lost, 75 a signal stopped
it after saving, 2 bad input.
"""

import os
import sys
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from typing import Any, ClassVar, Protocol

from jaxgpt.spec import Seam

FAILED = 4
"""Exit status of a worker, or of the whole sweep, that leaves runs undone: they failed, or their files are damaged."""
LOST = 70
"""Exit status of a worker whose claim another took (EX_SOFTWARE): it was silent for too long, or its file was removed.
Engines start another in its place."""
STOPPED = 75
"""Exit status of a worker that a signal stopped after saving (EX_TEMPFAIL)."""
PATIENCE = 60.0
"""Seconds that a worker has to save its run once it is asked to stop."""


class Crew(Protocol):
    """The workers that an engine has started."""

    def alive(self) -> int:
        """How many work or wait for a machine. A hint: only the folder tells what is done."""

    def describe(self) -> list[str]:
        """A line for each worker or group of them: what the scheduler calls it, and where its log is."""

    def stop(self) -> None:
        """Asks every worker to save and end."""


class Engine(Seam, seam="engine"):
    """Base of all engines: what starts the workers of a sweep, on this machine or on a cluster."""

    here: ClassVar[bool] = False
    """Whether the process that asks does the work itself."""

    @abstractmethod
    def start(self, folder: Path) -> Crew:
        """Starts the workers on a planned sweep's folder, which every machine must see under the same path.

        Returns as soon as they are started or queued. Raises ConfigError when the scheduler is missing or refuses.
        """


def worker_command(folder: Path) -> list[str]:
    """The command of one worker, by this process's own interpreter."""
    return [sys.executable, "-m", "jaxgpt", "lab", "work", str(folder.resolve())]


def start_process(command: list[str], environment: Mapping[str, str], log: Path, **options: Any) -> Popen[bytes]:
    """Starts a worker that adds what it prints to `log`, with more variables in its environment."""
    with log.open("ab") as file:
        variables = os.environ | environment
        return Popen(command, env=variables, stdin=DEVNULL, stdout=file, stderr=STDOUT, **options)


def log_folder(folder: Path) -> Path:
    """`FOLDER/workers`, made when missing: where workers' own output goes."""
    logs = folder.resolve() / "workers"
    logs.mkdir(parents=True, exist_ok=True)
    return logs
