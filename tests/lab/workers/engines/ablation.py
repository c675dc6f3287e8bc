"""`jaxgpt ablate rate.py` in a process of its own, and what it leaves."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

EXPERIMENT = Path(__file__).with_name("rate.py")
FIXED = ("lab.fuse=off",)
"""Solo: whether runs are fused is measured, and fused ones share their fate."""
PATIENCE = 300.0
"""Seconds after which what does not happen counts as hung."""


def wait_for(what: str, there: Callable[[], bool], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not there():
        assert time.monotonic() < deadline, f"no {what} after {patience:.0f} s"
        time.sleep(0.1)


class Ablation:
    """Starts the sweep into a folder in `out`; `words` choose the engine."""

    def __init__(self, out: Path, *words: str, environment: Mapping[str, str] = os.environ):
        self.folder, self.log = out / EXPERIMENT.stem, out / "ablate.log"
        command = [sys.executable, "-m", "jaxgpt.cli", "ablate", str(EXPERIMENT), *FIXED, *words]
        command += ["--out", str(self.folder)]
        one_device = {"XLA_FLAGS": f"--xla_backend_optimization_level=0 {os.environ.get('JAXGPT_TEST_XLA_FLAGS', '')}"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env={**environment, **one_device}, stdout=log, stderr=log)

    def both_at_work(self) -> bool:
        """Whether two runs have a checkpoint to go on from, and are far from their end."""
        from jaxgpt.runs.checkpoint.retention import steps as checkpoints

        assert self.process.poll() is None, f"it ended too early: {self.said()}"
        logs = [log for log in self.folder.glob("*/s*/metrics.jsonl") if checkpoints(log.parent / "ckpt")]
        return sum(len(log.read_bytes().splitlines()) * 10 <= 1600 for log in logs) == 2

    def finish(self) -> None:
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        assert status == 0, self.said()

    def said(self) -> str:
        """What it and its workers printed."""
        logs = [self.log, *sorted((self.folder / "workers").rglob("*.log")), *(self.folder / "workers").rglob("*.out")]
        return "\n".join(f"== {log}\n{log.read_text()}" for log in logs)

    def results(self) -> bytes:
        return (self.folder / "results.csv").read_bytes()

    def events(self, name: str) -> list[int]:
        """How often this happened to each run, in ascending order."""
        logs = [log.read_text().splitlines() for log in self.folder.glob("*/s*/events.jsonl")]
        return sorted(sum(json.loads(line)["event"] == name for line in lines) for lines in logs)
