"""Tries meshes for a run on a slice, and ranks them by predicted step time."""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from jaxgpt.aot.adaptation import adapted, changes
from jaxgpt.aot.compilation import Answer, check, compile_adapted
from jaxgpt.aot.topology import need_libtpu
from jaxgpt.parallel import ROWS, Mesh
from jaxgpt.parallel.chips import Slice
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import JaxgptError
from jaxgpt.terminal import Watch

SIZES = 1, 2, 4, 8, 16
"""Of the tensor and sequence axes: more would leave the neighbours along an axis of the torus."""
SLACK = 0.1
"""The share of its rows by which a batch may grow or shrink so that a mesh divides it."""


class Tried(NamedTuple):
    """One mesh that the search has compiled for, and what came of it."""

    mesh: dict[str, int]
    answer: Answer | None
    """None where the compiler refused it."""
    why: str
    """Its refusal."""

    def figures(self, asked: ObjectiveRun) -> dict[str, Any]:
        """The try as plain values, with what was changed of the run that was asked for."""
        if self.answer is None:
            return {"mesh": self.mesh, "why": self.why}
        return self.answer.figures() | {"changed": changes(asked, self.answer.run)}


def candidates(run: ObjectiveRun, topology: Slice, fixed: dict[str, int]) -> Iterator[ObjectiveRun]:
    """`run` adapted to every mesh that divides about as many rows, and the model's heads: of `fixed` sizes, tensor and
    sequence over SIZES, fsdp over the rest. Tokens are split only as far as there are more chips than rows."""
    for sequence in [fixed["sequence"]] if "sequence" in fixed else SIZES:
        count = 0
        for tensor in [fixed["tensor"]] if "tensor" in fixed else SIZES:
            sizes = {"data": 1, **fixed, "sequence": sequence, "tensor": tensor}
            if "fsdp" not in fixed:
                taken = prod(sizes.values())
                if topology.chips % taken:
                    continue
                sizes["fsdp"] = topology.chips // taken
            if run.model.heads % tensor:
                continue
            try:
                trial = check(adapted(run.evolve(exec=run.exec.evolve(mesh=Mesh(**sizes))), topology), topology)
            except JaxgptError:
                continue
            if abs(trial.batch_size - run.batch_size) > SLACK * run.batch_size:
                continue
            count += 1
            yield trial
        if count:
            return


def search(run: ObjectiveRun, topology: Slice, fixed: dict[str, int]) -> list[Tried]:
    """Compiles each candidate; those that fit the chip first, fastest first. Raises JaxgptError when there is none."""
    kernels(run, "tpu")
    need_libtpu()
    trials = list(candidates(run, topology, fixed))
    if not trials:
        raise JaxgptError(
            f"--mesh: none divides about {run.batch_size} rows over {topology.chips} chips by {' x '.join(ROWS)} and "
            "the model's heads by tensor; change batch_size, or name a mesh, as in --mesh fsdp=128,tensor=8"
        )
    tried = []
    with Watch("search", len(trials), "meshes") as watch:
        for index, trial in enumerate(trials, 1):
            mesh = trial.exec.mesh.shape(topology.chips)
            try:
                tried.append(Tried(mesh, compile_adapted(trial, topology), ""))
            except JaxgptError as error:
                tried.append(Tried(mesh, None, str(error)))
            watch.update(index)
    return sorted(tried, key=rank)


def rank(trial: Tried) -> tuple[int, float]:
    """What fits, by time a row, for not all have as many; then what does not; then what the compiler refused."""
    if trial.answer is None:
        return 2, 0.0
    return int(not trial.answer.fits), trial.answer.prediction.apart / trial.answer.run.batch_size
