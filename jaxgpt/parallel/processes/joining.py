"""Several processes as one run: finding one another. jax's own cluster detection does the work where there is one."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.terminal import say

WAIT = 300
"""Seconds that processes wait for each other at the start: the first may be ready while another's image is pulled."""
HEARTBEAT = 60
"""Seconds until jax itself gives up a process. Enough for the watchdog to be first, which says who is gone."""
TASKS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}
"""What srun and mpirun tell each process that they start, and whatever is started from there: how many they are."""
TPU = "TPU_ML_PLATFORM"
"""Set by jax itself where it finds chips: on one host of a slice, or on a machine by itself, as notebooks give."""
AUTO = "auto"
NOTICE = 2
"""Seconds until a process says that it waits, and for whom."""
ALONE = "a process by itself takes --processes 1"
LATE = 75
"""Exit status where others did not come: unlike a bad config (2), the same command may do better."""


def join(coordinator: str | None, processes: int | None, process: int | None, wait: float = WAIT) -> None:
    """Makes this process one of several, before jax starts its backend.

    By hand: `coordinator` (HOST:PORT of process 0, on a free port), `processes`, and `process` from 0. With nothing
    given, processes on a TPU pod, and those that srun or mpirun started as more than one, find each other through jax's
    cluster detection, and any other process stays by itself; a shell among such tasks is refused at once, for the
    others would not come. `auto` as coordinator asks jax's detection in any case
    (Kubernetes); `processes` 1 stays alone in any case. Raises ConfigError for values that cannot be; where others do
    not come within `wait` seconds, ends the process with one line and status 75 (EX_TEMPFAIL: start it again), as
    jax leaves no way back.
    """
    given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    if processes == 1 or jax.distributed.is_initialized():
        return
    if coordinator == AUTO or not any(value is not None for value in given.values()):
        tasks = next((name for name in TASKS if os.environ.get(name, "1") not in ("", "1")), None)
        if coordinator is None and tasks is not None and _typed_here():
            raise ConfigError(
                f"--processes: {tasks}={quote(os.environ[tasks])[1:-1]}, but this is a shell, and the other tasks will "
                f"not come by themselves; give --processes 1 to train here alone, or start all with {TASKS[tasks]}"
            )
        if coordinator == AUTO or tasks is not None or TPU in os.environ:
            sign = "jax's cluster detection" if tasks is None else f"{tasks}={quote(os.environ[tasks])[1:-1]}"
            others = f"the other processes, announced by {sign}"
            _initialize(others, wait, coordinator == AUTO or tasks is not None, local_device_ids=_devices())
        return
    _check(given)
    assert coordinator is not None and processes is not None and process is not None
    others = f"all {processes} processes at {coordinator}" if process == 0 else f"process 0 at {coordinator}"
    _initialize(
        others,
        wait,
        True,
        coordinator_address=coordinator,
        num_processes=processes,
        process_id=process,
        cluster_detection_method="deactivate",
    )


def _typed_here() -> bool:
    """Whether a person started this process from a terminal: tasks get their standard input from a pipe, or none. A
    shell inside an allocation (`srun --pty bash`) hands the variables of its own task on."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _devices() -> list[int] | None:
    """Which GPUs this process takes: an empty list for all that it sees, None for the one of its place on the node.

    jax takes one for each task of Slurm, which loses seven of eight where a node has one task, and fails where Slurm
    has shown each task its own GPU only.
    """
    alone = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "").split("(")[0] == "1"
    own = len(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")) == 1 and "CUDA_VISIBLE_DEVICES" in os.environ
    return [] if alone or own else None


def _check(given: dict[str, str | int | None]) -> None:
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)}: missing; by hand it takes --coordinator HOST:PORT --processes N --process I"
        )
    coordinator, processes, process = given.values()
    host, _, port = str(coordinator).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(f"--coordinator: {coordinator} is not HOST:PORT; give process 0's host and a free port there")
    assert isinstance(processes, int) and isinstance(process, int)
    if processes < 1:
        raise ConfigError(f"--processes: {processes} is not a number of processes; give 1 or more")
    if not 0 <= process < processes:
        raise ConfigError(f"--process: {process} of {processes} processes; they count from 0 to {processes - 1}")


def _initialize(others: str, wait: float, asked: bool, **arguments: Any) -> None:
    """Starts jax's coordination. `asked`: whether there must be other processes, or jax may find none."""
    with _deadline(others, wait):
        try:
            jax.distributed.initialize(
                initialization_timeout=int(wait) + 60, heartbeat_timeout_seconds=HEARTBEAT, **arguments
            )
        except (RuntimeError, ValueError, OSError) as error:
            if not asked and not isinstance(error, RuntimeError):
                return
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(f"--coordinator: jax cannot join the processes: {said[0]}; {ALONE}") from error


@contextmanager
def _deadline(others: str, wait: float) -> Iterator[None]:
    """Says what is waited for, and ends the process when that takes too long: jax would abort it without a word."""

    def give_up() -> None:
        line = (
            f"error: --coordinator: no word from {others} for {wait:.0f} s; check the address and that all have "
            f"started; {ALONE}"
        )
        say(line)
        sys.stdout.flush()
        os._exit(LATE)

    line = f"waiting up to {wait:.0f} s for {others}; {ALONE}"
    notice = threading.Timer(NOTICE, say, (line,))
    timers = [notice, threading.Timer(wait, give_up)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
