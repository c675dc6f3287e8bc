"""Tries meshes for a run on a slice, and ranks them by predicted step time."""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from jaxgpt.parallel import ROWS, Mesh
from jaxgpt.parallel.chips import Slice
from jaxgpt.spec import JaxgptError
from jaxgpt.terminal import Watch
from jaxgpt.train.ahead.ask import Answer, check, compile_for
from jaxgpt.train.spec import Run

SIZES = 1, 2, 4, 8, 16
"""Of the tensor and sequence axes: more would leave the neighbours along an axis of the torus."""


class Tried(NamedTuple):
    """One mesh."""

    mesh: dict[str, int]
    answer: Answer | None
    """None where the compiler refused it."""
    why: str
    """Its refusal."""


def candidates(run: Run, topology: Slice, fixed: dict[str, int]) -> Iterator[Run]:
    """`run` on every mesh of `fixed` sizes, tensor and sequence over SIZES, and fsdp over the rest, that the batch and
    the model's heads divide over. Tokens are split only as far as there are more chips than rows."""
    heads = getattr(run.model, "num_heads", 0)
    for sequence in [fixed["sequence"]] if "sequence" in fixed else SIZES:
        found = 0
        for tensor in [fixed["tensor"]] if "tensor" in fixed else SIZES:
            sizes = {"data": 1, **fixed, "sequence": sequence, "tensor": tensor}
            if "fsdp" not in fixed:
                taken = prod(sizes.values())
                if topology.chips % taken:
                    continue
                sizes["fsdp"] = topology.chips // taken
            trial = run.evolve(exec=run.exec.evolve(mesh=Mesh(**sizes)))
            if heads % tensor or not _fits(trial, topology):
                continue
            found += 1
            yield trial
        if found:
            return


def search(run: Run, topology: Slice, fixed: dict[str, int]) -> list[Tried]:
    """Compiles each candidate; those that fit the chip first, fastest first. Raises JaxgptError when there is none."""
    trials = list(candidates(run, topology, fixed))
    if not trials:
        raise JaxgptError(
            f"--search: no mesh splits batch_size {run.batch_size} over {topology.chips} chips by {' x '.join(ROWS)}; "
            "change batch_size, or batch_ramp and eval.batch_size beside it"
        )
    tried = []
    with Watch("search", len(trials), "meshes") as watch:
        for index, trial in enumerate(trials, 1):
            mesh = trial.exec.mesh.shape(topology.chips)
            try:
                tried.append(Tried(mesh, compile_for(trial, topology), ""))
            except JaxgptError as error:
                tried.append(Tried(mesh, None, str(error)))
            watch.update(index)
    return sorted(tried, key=rank)


def rank(one: Tried) -> tuple[int, float]:
    """What fits, by time; then what does not; then what the compiler refused."""
    if one.answer is None:
        return 2, 0.0
    return int(not one.answer.fits), one.answer.prediction.apart


def _fits(run: Run, topology: Slice) -> bool:
    try:
        check(run, topology)
    except JaxgptError:
        return False
    return True
