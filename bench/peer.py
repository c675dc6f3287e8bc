"""A peer in a process of its own, so that neither library's threads and allocator meet the other's.

Each line that one side writes is JSON: `[word, ...]` asks, `{"value": ...}` or `{"error": ...}` answers. A peer's own
prints go to stderr, where they cannot be taken for answers.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

REST = 0.02
"""Seconds between two timed calls: thread pools spin for a while after their work and would slow the next library."""


class PeerError(Exception):
    """What a peer could not do, in one line."""


class Peer:
    """A script of this folder that ends in `serve`."""

    def __init__(self, script: str, *given: Any):
        self._name = script
        command = [sys.executable, str(Path(__file__).parent / script), *map(json.dumps, given)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        self._asking = ThreadPoolExecutor(1)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._asking.shutdown()
        with suppress(BrokenPipeError), self._process:
            pass  # closes the pipes, and waits

    def begin(self, *words: Any) -> "Future[Any]":
        """Asks, and does not wait: questions are answered in order."""
        return self._asking.submit(self._ask, words)

    def ask(self, *words: Any) -> Any:
        """The answer. Raises PeerError."""
        return self.begin(*words).result()

    def _ask(self, words: tuple[Any, ...]) -> Any:
        asks, answers = self._process.stdin, self._process.stdout
        assert asks is not None and answers is not None
        try:
            asks.write(json.dumps(words) + "\n")
            asks.flush()
            answer = json.loads(answers.readline() or "null")
        except OSError:
            answer = None
        if answer is None:
            raise PeerError(f"{self._name} ended with status {self._process.wait()}")
        if "error" in answer:
            raise PeerError(f"{self._name}: {answer['error']}")
        return answer["value"]


def missing(*packages: str) -> str | None:
    """The packages that are not installed, as one line says it; None: all are."""
    lacks = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"no {', '.join(lacks)} here: ours alone" if lacks else None


def private_stdout() -> TextIO:
    """The stdout of this process, for what the other side reads; all else that it prints goes to stderr from now on."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def serve(answer: Callable[..., Any]) -> None:
    """Answers by `answer(*words)` until nobody asks any more."""
    out = private_stdout()
    for line in sys.stdin:
        try:
            said = {"value": answer(*json.loads(line))}
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}
        print(json.dumps(said), file=out, flush=True)


def turns(
    calls: Mapping[str, Callable[[], float]], rounds: int, warmup: int = 1, note: Callable[[str], None] = print
) -> dict[str, float]:
    """Median of the seconds that each call returns. Calls take turns; a peer that fails is left out, with a line."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(warmup + rounds):
        for name in list(took):
            time.sleep(REST)
            try:
                seconds = calls[name]()
            except PeerError as error:
                note(str(error))
                del took[name]
                continue
            if index >= warmup:
                took[name].append(seconds)
    return {name: statistics.median(times) for name, times in took.items()}
