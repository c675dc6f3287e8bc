"""Asks a child process to compile a run's step for a slice of TPUs; checks first what can be checked without."""

import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

from jaxgpt.aot.adaptation import recomputed
from jaxgpt.aot.roofline import Prediction, predict
from jaxgpt.aot.topology import NO_PROBING, need_libtpu
from jaxgpt.parallel.chips import Slice
from jaxgpt.runs.fits import check_devices
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import ConfigError, JaxgptError

TOO_LARGE = "the step does not fit a chip"
"""What a refusal for want of memory says."""


class Answer(NamedTuple):
    """What the compiler says a training step needs on each chip."""

    run: ObjectiveRun
    topology: Slice
    facts: dict[str, Any]
    """See `child_process.facts`."""
    prediction: Prediction

    @property
    def fits(self) -> bool:
        """Whether a chip's memory holds the step. The compiler refuses only some of those that do not."""
        return bool(self.facts["memory_bytes"] <= self.topology.chip.memory)

    def figures(self) -> dict[str, Any]:
        """The whole answer as plain values, for JSON."""
        chip = self.topology.chip
        return {
            "topology": self.topology.name + (f"*{self.topology.copies}" if self.topology.copies > 1 else ""),
            "chips": self.topology.chips,
            "chip": chip._asdict(),
            "mesh": self.run.exec.mesh.shape(self.topology.chips),
            "hbm_bytes": chip.memory,
            **self.facts,
            "prediction": self.prediction.figures(),
        }


def without_text(run: ObjectiveRun) -> ObjectiveRun:
    """The run, of one step where its text would tell how many. Raises ConfigError where the number of tokens, of labels
    or of candidates is not known."""
    if run.model.vocab_size is None:
        raise ConfigError("model.vocab_size: not set, and no text is read to count it; add model.vocab_size=50257")
    run = run if run.epochs is None else run.evolve(steps=1, epochs=None)
    if not run.complete:
        raise ConfigError(
            "model.text_head, data: no text is read; add model.text_head.labels, or its scale, and data.candidates"
        )
    return run


def check(run: ObjectiveRun, topology: Slice) -> ObjectiveRun:
    """The run. Raises ConfigError for a mesh, batch, vocabulary or kernel that does not fit the slice."""
    run = without_text(run)
    check_devices(run, topology.chips)
    kernels(run, "tpu", run.exec.mesh.shape(topology.chips)["sequence"])
    return run


def compile_adapted(run: ObjectiveRun, topology: Slice) -> Answer:
    """Compiles the step of an adapted run; once more with less memory where a chip's does not hold it. Raises as
    `compile_for` does."""
    try:
        answer = compile_for(run, topology)
    except JaxgptError as error:
        if TOO_LARGE not in str(error) or run.exec.remat != "none":
            raise
        return compile_for(recomputed(run), topology)
    return answer if answer.fits or run.exec.remat != "none" else compile_for(recomputed(run), topology)


def compile_for(run: ObjectiveRun, topology: Slice) -> Answer:
    """Compiles the step that training would run. Raises ConfigError, or JaxgptError with what the compiler said."""
    run = check(run, topology)
    need_libtpu()
    request = {"run": run.model_dump(mode="json"), "topology": topology.name, "copies": topology.copies}
    done = subprocess.run(
        [sys.executable, "-m", "jaxgpt.aot.child_process"],
        input=json.dumps(request),
        capture_output=True,
        encoding="utf-8",
        env=os.environ | NO_PROBING,
    )
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode or not last:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise JaxgptError(f"the compiling process ended with status {done.returncode}: {said}")
    facts = json.loads(last[0])
    if "error" in facts:
        raise JaxgptError(facts["error"])
    return Answer(run, topology, facts, predict(run, topology, facts))
