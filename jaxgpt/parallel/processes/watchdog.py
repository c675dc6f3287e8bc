"""Ends all processes of a run when one of them has died, hangs, or has raised. A collective would wait for ever.

    with Watchdog() as watchdog:        # in every process, around all that a run does
        watchdog.moved()                # once a step

Each process has a thread that writes a beat to the coordinator's store every few seconds, whatever the main thread
does, so a long compilation or a long save is not silence; a stopped process (SIGSTOP, a frozen host) is silent. The
first process reads all beats, the others the first one's: a few small messages a beat for each process.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from types import TracebackType
from typing import NoReturn

from jaxgpt.parallel.processes.agreement import gather_lines, process_count, process_index, store
from jaxgpt.spec import JaxgptError
from jaxgpt.terminal import say

BEAT = 2.0
"""Seconds between two beats."""
SILENCE = 15.0
"""Seconds without a beat after which a process counts as dead."""
DONE = "done"
"""What a process writes instead of a beat when its work is over."""
GRACE = 3.0
"""Seconds that a process has to end by itself, once it or another has said why the run is over."""


class Watchdog:
    """Ends this process when another of its run is gone, or none moves on. Does nothing in a process by itself."""

    def __init__(self, hang_seconds: float | None = None):
        """`hang_seconds`: how long no process may move while all of them beat; None: for ever. It counts once each
        has moved, and must exceed the longest compilation, validation and save: a main thread that is stuck looks
        like one that works."""
        self._hang = hang_seconds
        self._me, self._moves, self._done = process_index(), 0, False
        self._grace = GRACE if self._me else 2 * GRACE
        """The coordinator goes last: jax aborts those that it leaves behind."""
        self._over = threading.Event()
        self._heard = time.monotonic()
        """When the coordinator last answered."""
        self._seen: dict[int, tuple[str, float]] = {}
        """The last beat of each process that is watched, and when it changed; it counts from when all have joined."""
        self._least = (0, time.monotonic())
        """Moves of the process that is furthest behind, and when they last grew."""

    def __enter__(self) -> "Watchdog":
        if process_count() > 1:
            others = range(1, process_count()) if self._me == 0 else [0]
            self._seen = {other: (json.dumps([0, 0, "not a beat yet"]), time.monotonic()) for other in others}
            for work in (self._talk, self._guard):
                threading.Thread(target=work, name=f"watchdog{work.__name__}", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if process_count() == 1:
            return
        if error is None:
            self._done = True
            gather_lines("done")  # while the others work, this one still beats and judges
            self._over.set()
            return
        self._over.set()
        status = 2 if isinstance(error, JaxgptError) else 1
        # jax waits for all processes before it lets one exit; this one's own error is printed before that.
        timer = threading.Timer(self._grace, os._exit, (status,))
        timer.daemon = True
        timer.start()
        said = str(error).strip().splitlines() or [""]
        self._tell(
            f"{said[0]}" if status == 2 else f"process {self._me} raised {type(error).__name__}: {said[0]}", status
        )

    def moved(self) -> None:
        """Notes that the main thread goes on."""
        self._moves += 1

    def _talk(self) -> None:
        """Writes this process's beats for the others, and reads theirs."""
        name, beat = f"pid {os.getpid()} on {socket.gethostname()}", 0
        while not self._over.is_set():
            with contextlib.suppress(Exception):  # the coordinator is gone or busy: `_guard` counts how long
                beat += 1
                word = DONE if self._done else json.dumps([beat, self._moves, name])
                store().key_value_set(f"jaxgpt/beat/{self._me}/last", word, True)
                for _, words in store().key_value_dir_get("jaxgpt/end/"):
                    threading.Thread(target=self._follow, args=json.loads(words), daemon=True).start()
                    return
                beats = store().key_value_dir_get("jaxgpt/beat/" if self._me == 0 else "jaxgpt/beat/0/")
                self._heard = time.monotonic()
                for key, text in beats:
                    process = int(key.split("/")[-2])
                    if self._seen.get(process, ("", 0.0))[0] != text:
                        self._seen[process] = text, self._heard
            self._over.wait(BEAT)

    def _guard(self) -> None:
        """Ends this process when another is silent for too long. It asks nobody, so nothing can keep it waiting."""
        last = time.monotonic()
        while not self._over.wait(BEAT / 4):
            now = time.monotonic()
            if now - last > BEAT:  # this process was stopped itself; it cannot say who else was
                self._heard = now
                self._seen = {process: (text, now) for process, (text, _) in self._seen.items()}
            last = now
            if now - self._heard > SILENCE:
                self._end(f"the coordinator in process 0 has not answered for {SILENCE:.0f} s")
            for process, (text, changed) in list(self._seen.items()):
                if process != self._me and text != DONE and now - changed > SILENCE:
                    self._end(f"process {process} ({json.loads(text)[2]}) has been silent for {SILENCE:.0f} s")
            if self._me == 0 and self._hang is not None:
                self._check_moves(now, self._hang)

    def _check_moves(self, now: float, patience: float) -> None:
        moves = {process: json.loads(text)[1] for process, (text, _) in self._seen.items() if text != DONE}
        least = min(moves.values(), default=0)
        if least != self._least[0]:
            self._least = least, now
        if least and now - self._least[1] > patience:
            behind = [str(process) for process, count in moves.items() if count == least]
            self._end(f"no step for {patience:.0f} s (exec.hang_seconds); furthest behind: process {', '.join(behind)}")

    def _end(self, line: str) -> NoReturn:
        self._tell(line, 1)
        self._follow(line, 1)

    def _tell(self, line: str, status: int) -> None:
        teller = threading.Thread(target=self._write_end, args=(line, status), daemon=True)
        teller.start()
        teller.join(GRACE / 3)  # a dead coordinator may keep it waiting

    def _write_end(self, line: str, status: int) -> None:
        with contextlib.suppress(Exception):
            store().key_value_set(f"jaxgpt/end/{self._me}", json.dumps([line, status]), True)

    def _follow(self, line: str, status: int) -> NoReturn:
        """Ends this process, unless its main thread does so itself in time."""
        time.sleep(self._grace)
        text = f"error: {line}" + ("" if status == 2 else "; the same command continues from the last checkpoint")
        say(text)
        sys.stdout.flush()
        os._exit(status)
