"""What may come of reading a stranger's file, soon and in little memory: a right load, or short lines of an error."""

import resource
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager

from jaxgpt.spec import JaxgptError

SECONDS, BYTES = 10.0, 2 << 30
LINES, LONGEST = 25, 1000


class TooLong(BaseException):
    """No `except Exception` on the way may take it for the file's fault."""


def outcome(read: Callable[[], object]) -> str | None:
    """What is wrong with how `read` ended; None: nothing. Time is the processor's, children included, so that a busy
    machine does not matter; one that waits for ever is ended by the clock."""
    began, peak = _cpu(), _peak()
    try:
        with _clock(12 * SECONDS):
            read()
    except JaxgptError as error:
        lines = str(error).splitlines()
        if not lines or len(lines) > LINES:
            return f"{len(lines)} lines"
        for line in lines:
            if not line.strip() or not line.isprintable() or len(line) > LONGEST:
                return f"a line that is empty, long or not printable: {line[:300]!r}"
    except TooLong:
        return "it waits for ever"
    except Exception as error:
        return f"{type(error).__name__} escapes: {str(error)[:300]!r}"
    except BaseException as error:  # a panic of the Rust library, SystemExit
        return f"{type(error).__name__} escapes: {str(error)[:300]!r}"
    if (spent := _cpu() - began) > SECONDS:
        return f"{spent:.1f} s"
    if (grown := _peak() - peak) > BYTES:
        return f"{grown / 1e9:.1f} GB"
    return None


@contextmanager
def _clock(seconds: float):
    def ring(number, frame):
        raise TooLong

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak() -> int:
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
