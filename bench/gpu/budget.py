"""Parts one after another, each killed at its limit, and a file that always holds what is known so far."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

BENCH = Path(__file__).parents[1]
LEAST = 20.0
"""Seconds without which no part is begun: starting takes as long."""
DONE, LEFT, TINY = "done", "left", "tiny shapes"


class Part(NamedTuple):
    """What is measured in one process."""

    name: str
    target: str
    """`module:function`, which is called with a `gpu.part.Report`."""
    limit: float
    """Seconds after which it is killed."""
    about: str


class OtherDevice(Exception):
    """The file holds another device's figures."""


class Record:
    """Figures and the state of each part; `save` is called after each change."""

    def __init__(self, before: dict[str, Any], save: Callable[["Record"], None]):
        self.figures: dict[str, float] = dict(before.get("figures", {}))
        self.parts: dict[str, dict[str, Any]] = dict(before.get("parts", {}))
        self.device: str = before.get("device", "")
        self._save = save

    def status(self, part: str) -> str:
        """`done`, `left`, or why it is neither."""
        return str(self.parts.get(part, {"status": LEFT})["status"])

    def begin(self, part: str) -> None:
        """Forgets what an earlier try of the part measured; the file does at the first line of this one."""
        self.figures = {name: value for name, value in self.figures.items() if not name.startswith(f"{part}_")}
        self.parts[part] = {"status": "begun", "seconds": 0.0, "notes": []}

    def hear(self, part: str, said: dict[str, Any]) -> None:
        """A line of the part's process."""
        state = self.parts[part]
        ((kind, value),) = said.items()
        if kind == "device" and self.device not in ("", value):
            raise OtherDevice(f"it holds figures of {self.device}, and this is {value}; give another --json")
        if kind == "device":
            self.device = value
        elif kind == "figure":
            self.figures[f"{part}_{value[0]}"] = value[1]
            print(f"{part}_{value[0]} {value[1]:g}", flush=True)
        elif kind == "note":
            state["notes"].append(value)
            print(f"{part}: {value}", flush=True)
        elif kind == "at":
            state["at"] = value
        else:
            state["status"] = f"{kind}: {value}"
        self._save(self)

    def end(self, part: str, status: str, seconds: float) -> None:
        """The part's process is gone; what it said of itself stays."""
        state = self.parts[part]
        at = state.pop("at", None)
        if state["status"] == "begun":
            state["status"] = status if status == DONE or at is None else f"{status} in {at}"
        state["seconds"] = round(seconds, 1)
        self._save(self)


def run(parts: Sequence[Part], seconds: float, record: Record, again: bool = False, quick: bool = False) -> None:
    """Runs what fits: parts never tried first, then those that did not end well, each in their order; `again`: those
    that are done too."""
    stop = time.monotonic() + seconds
    todo = [part for part in parts if again or record.status(part.name) != DONE]
    for part in sorted(todo, key=lambda part: record.status(part.name) != LEFT):
        left = stop - time.monotonic()
        if left < LEAST:
            return
        print(f"-- {part.name}: {part.about} (at most {min(part.limit, left):.0f} s)", flush=True)
        _run(part, min(part.limit, left), record, quick)
        print(f"-- {part.name}: {record.status(part.name)}, {record.parts[part.name]['seconds']} s", flush=True)


def _run(part: Part, limit: float, record: Record, quick: bool) -> None:
    command = [sys.executable, "-m", "gpu.part", part.target, *(["--quick"] if quick else [])]
    start = time.monotonic()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, encoding="utf-8", env=_environment(), process_group=0
    )  # a group of its own, which its peers are in too: all are ended together
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child, lines))
    reader.start()
    record.begin(part.name)
    status = f"stopped at its limit of {limit:.0f} s"
    try:
        while (left := start + limit - time.monotonic()) > 0:
            try:
                line = lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                status = DONE if child.wait() == 0 else f"failed: ended with status {child.returncode}"
                break
            record.hear(part.name, json.loads(line))
    except (KeyboardInterrupt, SystemExit):
        record.end(part.name, "stopped from outside", time.monotonic() - start)
        raise
    finally:
        _end(child)
        reader.join()
    record.end(part.name, status, time.monotonic() - start)


def _read(child: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
    assert child.stdout is not None
    with child.stdout as out:
        for line in out:
            lines.put(line)
    lines.put(None)


def _end(child: "subprocess.Popen[str]") -> None:
    """Kills what is left of a part, its peers included."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _environment() -> dict[str, str]:
    """What a part's process needs: the modules of this folder and of the project, room on the card for a peer, and a
    cache of compiled programs, which holds what autotuning chose too."""
    paths = [str(BENCH), str(BENCH.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    cache = Path(os.environ.get("JAXGPT_CACHE") or "~/.cache/jaxgpt").expanduser() / "xla"
    defaults = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "PYTHONUNBUFFERED": "1",
    }
    return defaults | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
