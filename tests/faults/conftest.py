"""Training in a process of its own, so that it can be killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxgpt.runs.checkpoint.retention import steps as checkpoints
from jaxgpt.spec import dump_yaml

LICENCE = Path(__file__).parents[2] / "LICENSE"
PATIENCE = 120
"""Seconds after which a process that shows no progress counts as hung."""


class Trainer:
    """`jaxgpt train` on one config: to its end, or killed at a moment drawn from a seed."""

    def __init__(self, config: Path, steps: int):
        self.config, self.steps = config, steps

    def start(self, out: Path) -> subprocess.Popen:
        words = [Path(sys.executable).with_name("jaxgpt"), "train", self.config, "--out", out]
        environment = os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].partition(" ")[2]}  # ours, but on one device
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)

    def finish(self, out: Path) -> None:
        process = self.start(out)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err

    def kill(self, out: Path, seed: int) -> str:
        """Kills a run at a random moment of the work that is left; says what was under way. Part of them in a save."""
        draw = random.Random(seed)
        done = max(checkpoints(out / "ckpt"), default=0)
        last = self.steps - 4  # near the end a kill could come too late
        row = draw.randint(min(done + 1, last), last)
        delay, saving = draw.uniform(0, 0.02), draw.random() < 0.5
        begun = _lines(out / "events.jsonl")  # rows past the checkpoint are still there until the run has begun again
        process = self.start(out)
        deadline = time.monotonic() + PATIENCE

        def there() -> bool:
            resumed = done == self.steps or _lines(out / "events.jsonl") > begun
            return resumed and _lines(out / "metrics.jsonl") >= row and (not saving or bool(self._drafts(out)))

        while process.poll() is None and not there():
            assert time.monotonic() < deadline, f"seed {seed}: no row {row} after {PATIENCE} s"
            time.sleep(0.0005)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        moment = f"seed {seed}: resumed at {done}, killed {delay * 1e3:.1f} ms after row {row}"
        rows, saved = _lines(out / "metrics.jsonl"), sorted(checkpoints(out / "ckpt"))
        assert process.returncode == -signal.SIGKILL, f"{moment}: ended by itself with {process.returncode}: {err}"
        left = f"rows to {rows}, checkpoints {saved}, drafts {self._drafts(out)}"
        return f"{moment}{' in a save' if saving else ''}; left {left}"

    def _drafts(self, out: Path) -> list[str]:
        return sorted(path.name for path in (out / "ckpt").glob(".draft_*"))


def _lines(path: Path) -> int:
    """Whole lines of a log. metrics.jsonl has one for each step."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


RECURRENT = {"kind": "recurrent", "d_model": 12, "units": [16, 12], "context": 8}
MODELS = {"windows": {"model.num_layers": 1}, "streams": {"model": RECURRENT, "data.streams": True}}


@pytest.fixture(scope="module", params=MODELS)
def trainer(request, tiny, tmp_path_factory):
    """Dropout, averages, validation, and a save every 3 steps: kills fall into training and into saves. Of a decoder,
    and of an LSTM that carries its state."""
    steps = 30
    spec = tiny(
        **{
            **MODELS[request.param],
            "model.vocab_size": None,
            "model.dropout": 0.1,
            "data.corpus": str(LICENCE),
            "data.val_tokens": 64,
            "steps": steps,
            "ema": 0.9,
            "eval.every": 5,
            "exec": {"log_every": 1, "save_every": 3},
        }
    )
    path = tmp_path_factory.mktemp("config") / "little.yaml"
    path.write_text(dump_yaml(spec))
    return Trainer(path, steps)
