"""What the scripts of this folder share: their options, fair timing, and the file they leave."""

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
from typing import Any, NamedTuple

from busy import LIMIT, Others, watched
from peer import REST

PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "torch", "transformers", "sentence-transformers", "numpy"),
    *("nvidia-cudnn-cu13", "triton"),
)


def arguments(
    description: str, timed: bool = True, words: dict[str, Any] | None = None, **more: dict[str, Any]
) -> argparse.Namespace:
    """`--json PATH`, `--quick` and `--busy`; `words`: those without dashes, `more`: further options, as
    argparse takes them.

    Where something is `timed` and other programs keep the processor busy, now or while it is measured, there is one
    line and exit status 2 instead of figures, unless `--busy` asks for them.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the figures are written")
    parser.add_argument("--quick", action="store_true", help="few repeats: minutes, not hours")
    parser.add_argument("--busy", action="store_true", help="report although other programs use the processor")
    for name, how in more.items():
        parser.add_argument(f"--{name}", **how)
    if words is not None:
        parser.add_argument("words", **words)
    options = parser.parse_intermixed_args()
    if options.json is not None and options.json.exists() and not _holds_figures(options.json):
        parser.error(f"--json: {options.json} is there already, holds no figures and is not written over")
    options.others = None
    if timed and not options.busy:
        _refuse_if_busy(watched(), "keep")
        options.others = Others()
    return options


def _holds_figures(path: Path) -> bool:
    """Whether a file holds what `write` leaves."""
    try:
        return "figures" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _refuse_if_busy(cores: float, verb: str) -> None:
    if cores > LIMIT:
        line = f"error: other programs {verb} {cores:.1f} cores busy; nothing is reported: wait, or add --busy"
        print(line, file=sys.stderr)
        raise SystemExit(2)


def shakespeare() -> Path:
    """The tiny Shakespeare file in the folder JAXGPT_DATA. Without it the script ends here, and says so."""
    path = shakespeare_path()
    if not path.exists():
        print(f"skipped: {no_data(path)}")
        raise SystemExit(0)
    return path


def shakespeare_path() -> Path:
    """Where tiny Shakespeare should be."""
    return Path(os.environ.get("JAXGPT_DATA", ".")) / "tinyshakespeare" / "input.txt"


def no_data(path: Path) -> str:
    """What is said where it is not."""
    return f"no data at {path}; set JAXGPT_DATA to the folder that holds tinyshakespeare/"


def found(name: str, path: Path) -> Path:
    """The path. Where there is no such file the script ends, and says so with the variable that would name it."""
    if not path.is_file():
        print(f"skipped: no data at {path}; set {name} (see the top of this script)")
        raise SystemExit(0)
    return path


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, as JAXGPT_SMOLLM2 names it."""
    return found("JAXGPT_SMOLLM2", Path(os.environ.get("JAXGPT_SMOLLM2", "SmolLM2-135M-Instruct.Q4_1.gguf")))


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


def write(options: argparse.Namespace, figures: Mapping[str, float], device: str) -> None:
    """Prints the figures, and writes them with where they come from; refuses if the machine was busy meanwhile."""
    if options.others is not None:
        _refuse_if_busy(options.others.cores(), "kept")
    report = {"figures": {name: float(f"{value:.5g}") for name, value in figures.items()}} | sources(device)
    text = json.dumps(report, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


def sources(device: str) -> dict[str, Any]:
    """Where figures come from: device, versions, command, date."""
    return {
        "device": device,
        "versions": {"python": platform.python_version()} | _versions(),
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cpu() -> str:
    """The processor's name and number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
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
