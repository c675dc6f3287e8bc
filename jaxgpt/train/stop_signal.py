"""A polite end: SIGTERM and Ctrl-C ask the loop to save at its next step."""

import itertools
import os
import signal
import threading
from types import FrameType, TracebackType

from jax.experimental import multihost_utils

from jaxgpt.parallel.processes.agreement import process_count

_CALLS = itertools.count(1)


class StopSignal:
    """`asked` turns true on the first SIGTERM or SIGINT; a second one ends the process the usual way.

    Of several processes each may get the signal, at a different step. jax's preemption service, which catches SIGTERM
    once `jax.distributed` is initialised, then agrees on the step after the newest that any has begun. Until there is
    something to agree on it costs a lock a step, where a flag of our own in the step would cost a collective.
    """

    def __init__(self) -> None:
        self.asked = False
        self._old: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        return self

    def listen(self) -> None:
        """Begins to catch SIGTERM and SIGINT; called once, after the first step."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT,) if process_count() > 1 else (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._handle)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        self._restore()

    def agreed(self) -> bool:
        """Whether to stop after this step; the same in all processes. To be called once a step.

        Counts its calls instead of taking the step: a run resumed at step 500 and asked before its first step would
        be told to stop at step 1.
        """
        if process_count() == 1:
            return self.asked
        return multihost_utils.reached_preemption_sync_point(next(_CALLS))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()
        if process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)  # to jax's handler

    def _restore(self) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)  # type: ignore[arg-type]
        self._old.clear()
