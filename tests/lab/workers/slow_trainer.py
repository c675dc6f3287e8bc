"""`python slow_trainer.py lab work DIR`: the verbs, with a trainer that only waits, a hundredth of a second a step.

It keeps the trainer's promises: rows are appended, a run goes on where it was, a signal asks it to save and stop.
"""

import json
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from jaxgpt.seal import seal
from jaxgpt.spec import Spec

STEP = 0.01


class Optim(Spec):
    lr: float = 1e-3


class Run(Spec):
    steps: int = 50
    seed: int = 0
    optim: Optim = Optim()

    def identity(self):
        return self.model_dump(mode="json")

    def train(self, out, quiet, watch):
        return wait(self, out, watch)


def wait(spec, out, watch):
    out.mkdir(parents=True, exist_ok=True)
    asked = []
    old = signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    log, events = out / "metrics.jsonl", out / "events.jsonl"
    done = len(log.read_text().splitlines()) if log.exists() else 0
    write(events, {"event": "resume" if done else "start"})
    for step in range(done + 1, spec.steps + 1):
        time.sleep(STEP)
        row = {"step": step, "tokens": step, "val/loss": 1 / step + spec.seed}
        write(log, row)
        watch(row)
        if asked:
            break
    signal.signal(signal.SIGTERM, old)
    result = row | {"status": "finished" if step == spec.steps else "stopped", "seconds": step * STEP}
    (out / "result.json").write_text(json.dumps(result))
    if result["status"] == "finished":
        seal(out)
    write(events, {"event": result["status"]})
    return result


def write(path: Path, row) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    sys.modules["jaxgpt.runs"] = SimpleNamespace(Run=Run)
    from jaxgpt.cli import main

    main()
