"""What the scripts of this folder share: their two options, fair timing, and the file they leave."""

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "transformers", "numpy")
REST = 0.02
"""Seconds between two timed calls: thread pools spin for a while after their work and would slow the next library."""


def arguments(description: str) -> argparse.Namespace:
    """`--json PATH` and `--quick`. Warns of a busy machine: it slows threads that wait for one another the most, so
    that ratios between libraries mean little there."""
    busy = os.getloadavg()[0]
    if busy > 0.5:
        print(f"warning: other programs keep {busy:.1f} cores busy; the figures will not hold", file=sys.stderr)
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the figures are written")
    parser.add_argument("--quick", action="store_true", help="few repeats: minutes, not hours")
    return parser.parse_args()


def shakespeare() -> Path:
    """The tiny Shakespeare file in the folder JAXGPT_DATA. Without it the script ends here, and says so."""
    path = Path(os.environ.get("JAXGPT_DATA", ".")) / "tinyshakespeare" / "input.txt"
    if not path.exists():
        print(f"skipped: no data at {path}; set JAXGPT_DATA to the folder that holds tinyshakespeare/")
        raise SystemExit(0)
    return path


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of one call, which must wait for its own result."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Times(NamedTuple):
    """Seconds of one call, repeated."""

    median: float
    best: float


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int, warmup: int) -> dict[str, Times]:
    """Times of each call after `warmup` rounds. The calls take turns, so that all of them meet the same machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(warmup + rounds):
        for name, call in calls.items():
            time.sleep(REST)
            took = seconds(call)
            if index >= warmup:
                times[name].append(took)
    return {name: Times(statistics.median(took), min(took)) for name, took in times.items()}


def write(path: Path | None, figures: Mapping[str, float], device: str) -> None:
    """Prints the figures, and writes them with where they come from."""
    report = {
        "figures": {name: float(f"{value:.5g}") for name, value in figures.items()},
        "device": device,
        "versions": {"python": platform.python_version()} | _versions(),
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if path is not None:
        path.write_text(text + "\n")


def cpu() -> str:
    """The processor's name and number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
