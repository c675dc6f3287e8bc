"""What kind of end a run came to, so that each is met in its own way. Recorded in `failure.json` beside the run.

diverged   not a number: an answer, never tried again
oom        out of memory: tried again in a smaller group
preempted  a signal, a lost machine: tried again freely
config     a field is wrong: trying again is of no use until someone changes it
bug        anything else: recorded; a later call tries again
"""

import errno
import json
import signal
import subprocess
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from jaxgpt.lab.run_files import is_count, is_figure, read_json, write_text
from jaxgpt.spec import ConfigError

Class = Literal["diverged", "oom", "preempted", "config", "bug"]
FILE = "failure.json"
_XLA = {"XlaRuntimeError", "JaxRuntimeError"}
_IN_USE = "InUseError"
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
"""Signals that a process brings on itself."""


class Failure(NamedTuple):
    """The last failure of a run, as failure.json holds it."""

    cls: Class
    attempts: int
    time: float
    """Seconds since 1970 by the clock of the machine it failed on, for people: clocks of two machines do not agree."""
    where: str
    """Type and innermost line of code: what makes two failures alike, whatever path or number their messages hold."""
    error: str

    @property
    def line(self) -> str:
        """The first line of the error."""
        return self.error.splitlines()[0] if self.error else ""


def classify(error: BaseException) -> Class:
    """The class of an error, or of the first of its explicit causes that is no plain bug. Loads no jax."""
    return next((cls for link in _chain(error) if (cls := _classify(link)) != "bug"), "bug")


def in_use(error: BaseException) -> bool:
    """Whether another process trains the run: no failure, but something to wait for. Loads no jax."""
    return _IN_USE in {base.__name__ for base in type(error).__mro__}


def where(error: BaseException) -> str:
    """`OSError /path/to/file.py:12`; the type alone when it was never raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__ + (f" {frames[-1].filename}:{frames[-1].lineno}" if frames else "")


def describe(error: BaseException, cls: Class, attempts: int) -> Failure:
    """What there is to say of an error."""
    return Failure(cls, attempts, round(time.time(), 3), where(error), f"{type(error).__name__}: {error}")


def record(folder: Path, error: BaseException, failure: Failure) -> None:
    """Writes failure.json in the run's folder, so that status and report can name it. Raises JaxgptError where it
    cannot be written."""
    content = {
        "error": failure.error,
        "class": failure.cls,
        "attempts": failure.attempts,
        "time": failure.time,
        "where": failure.where,
        "traceback": "".join(traceback.format_exception(error)),
    }
    write_text(folder / FILE, json.dumps(content, indent=1) + "\n")


def read(folder: Path) -> Failure | None:
    """The run's last failure, None when there is none or its file is not what `record` writes."""
    content = read_json(folder / FILE)
    failure = Failure(*(content.get(name) for name in ("class", "attempts", "time", "where", "error")))  # type: ignore[arg-type]
    texts = isinstance(failure.where, str) and isinstance(failure.error, str)
    known = isinstance(failure.cls, str) and failure.cls in get_args(Class)
    return failure if texts and known and is_count(failure.attempts) and is_figure(failure.time) else None


def same_in_every_arm(failures: Sequence[tuple[str, str]], arms: Collection[str]) -> bool:
    """Whether the last failures in a row, as (arm, where), are alike and touch every arm: then the rest would fail too.

    Start a new row at each run that comes to an end.
    """
    row = takewhile(lambda failure: failure[1] == failures[-1][1], reversed(failures))
    return bool(failures) and {arm for arm, _ in row} == set(arms)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _classify(error: BaseException) -> Class:
    if isinstance(error, ConfigError):
        return "config"
    if isinstance(error, FloatingPointError):  # jax_debug_nans
        return "diverged"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "oom"
    if _XLA & {base.__name__ for base in type(error).__mro__}:
        message = str(error)
        return "oom" if "RESOURCE_EXHAUSTED" in message or "out of memory" in message.lower() else "bug"
    if isinstance(error, KeyboardInterrupt):
        return "preempted"
    if isinstance(error, subprocess.CalledProcessError) and error.returncode < 0:
        return "bug" if -error.returncode in _CRASHES else "preempted"
    return "bug"
