"""What do more demonstrations do to a small model's answers, from none to sixteen (Brown et al. 2020, figure 1.2)?

    JAXGPT_DATA=<folder> jaxgpt ablate experiments/in_context.py weights=<SmolLM2-135M-Instruct.Q4_1.gguf>

SmolLM2-135M-Instruct on the first 64 items of SST-2's development part and of ARC-easy, six draws of the
demonstrations: 72 evaluations, about 80 minutes on 2 cores, as 31 of them took 34. Nothing is trained: a run is
one evaluation, whose seed draws the demonstrations, anew for each item; for SST-2 from its training part, for ARC-easy
from the other items. The items are the same in all arms, so intervals hold the luck of the draw, not that of the items
(12 points either way).
"""

from functools import lru_cache
from pathlib import Path

import jaxgpt
from jaxgpt.evals import EvalTask
from jaxgpt.inference.asked import Asked
from jaxgpt.inference.loaded import Loaded
from jaxgpt.inference.remembered import Remembered
from jaxgpt.lab import Experiment
from jaxgpt.runs import Cost, Exec, Run
from jaxgpt.runs.files.folder import RunDir
from jaxgpt.runs.files.lock import RunLock
from jaxgpt.runs.identity import claim
from jaxgpt.seal import read_result
from jaxgpt.shipped import find
from jaxgpt.spec.yamlio import read_yaml

SHOTS = (0, 1, 2, 4, 8, 16)
ITEMS = 64


class Asking(Run):
    """Weights that are asked one task."""

    weights: str = "SmolLM2-135M-Instruct.Q4_1.gguf"
    task: EvalTask
    figure: str
    """Of the task, which becomes `accuracy`."""
    steps: int = 1
    seed: int = 0
    exec: Exec = Exec()

    def train(self, out, quiet=False, watch=None):
        """See `Run.train`."""
        with RunLock(out):
            claim(self, out)
            if (done := read_result(out)) is not None:
                return done
            ask, loaded = self.task.evolve(seed=self.seed).opened(), opened(self.weights)
            with RunDir(out) as log:
                figures = ask(Asked(loaded, quiet=quiet, memory=Remembered(loaded.digest))).figures
                row = {"step": 1, "accuracy": figures[self.task.figure(self.figure)]}
                log.metrics(row)
                if watch is not None:
                    watch(row)
                log.result(**row, status="finished")
                return row | {"status": "finished"}

    def signature(self):
        """See `Run.signature`."""
        return self.evolve(seed=0)

    def cost(self):
        """About what reading takes."""
        tokens = 35 * ITEMS * (self.task.shots + 1)
        return Cost(tokens=tokens, flops=2 * 135e6 * tokens)


@lru_cache(maxsize=1)
def opened(weights: str) -> Loaded:
    """The weights, read once by all runs of a process."""
    return jaxgpt.load(Path(weights))


def asking(recipe: str, figure: str) -> dict[str, object]:
    """The fields of a run by a recipe of `jaxgpt list configs`."""
    return {"task": read_yaml(find(recipe, "config")) | {"limit": ITEMS}, "figure": figure}


TASKS = {"sst2": asking("eval/sst2", "accuracy/sum"), "arc": asking("eval/arc_easy", "accuracy/per_character")}
PLANNED = {f"{task}: {k} against 0": {f"{task}-{k:02d}": 1, f"{task}-00": -1} for task in TASKS for k in SHOTS[1:]}

experiment = Experiment(
    question="What do demonstrations do to the answers of a model of 135M parameters?",
    base={"kind": "asking", **TASKS["sst2"]},
    arms={f"{task}-{k:02d}": fields | {"task.shots": k} for task, fields in TASKS.items() for k in SHOTS},
    baseline="sst2-00",
    contrasts=PLANNED,
    metric="accuracy",
    better="higher",
    seeds=6,
)
