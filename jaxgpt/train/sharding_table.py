"""Where everything that a run holds will lie, from shapes alone: nothing is allocated and no device is asked."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, PartitionSpec

from jaxgpt.nn.pipeline import bubble
from jaxgpt.ops.sharding import Placement, constraining, path_name
from jaxgpt.parallel import split
from jaxgpt.runs.fits import check_devices
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.pipeline import pipelined
from jaxgpt.spec import ConfigError
from jaxgpt.train.program import build_model
from jaxgpt.train.state import init_state

Shapes = dict[str, jax.ShapeDtypeStruct]


def sharding_table(run: ObjectiveRun) -> dict[str, Any]:
    """How a run whose vocabulary is settled lies on its mesh.

    `mesh`: axis sizes, where -1 counts as 1 unless it has this machine's devices to fill; `leaves`: path, shape, axes,
    parts, bytes and bytes on each device of every array of the state, the gradients, a batch, and the named activations
    of one layer's pass; `per_device`: bytes by kind; `pipeline`: stages, microbatches, repeats and bubble, the share of
    the time that a stage waits; `remarks`: what the rules wanted split and could not split, and axes that split
    nothing. Raises ConfigError for a mesh that does not fit the batch.
    """
    mesh = AbstractMesh(*_axes(run))
    check_devices(run, mesh.size)
    rules, leaves, remarks, used = run.exec.rules, [], [], set[str]()
    for path, leaf in (_state(run) | _batch(run) | _activations(run)).items():
        layout = split(path, tuple(leaf.shape), rules, mesh)
        spec = PartitionSpec() if layout is None else layout.spec
        names = [axis for part in spec for axis in ((part,) if isinstance(part, str) else part or ())]
        used |= set(names)
        ways = prod(mesh.shape[name] for name in names)
        whole = leaf.size * leaf.dtype.itemsize
        leaves.append(
            {
                "path": path, "shape": list(leaf.shape), "dtype": leaf.dtype.name, "axes": _text(spec, leaf.ndim),
                "parts": ways, "bytes": whole, "bytes_per_device": whole // ways,
            }
        )  # fmt: skip
        for axis in layout.refused if layout is not None else ():
            remarks.append(
                f"{path} {list(leaf.shape)} is not split over {axis}: no dimension is a multiple of its size"
            )
    for axis, size in mesh.shape.items():
        if size > 1 and axis not in used:
            remarks.append(f"exec.mesh.{axis} = {size} splits nothing: exec.rules {rules.kind} does not name it")
    kinds = {leaf["path"].split("/")[0]: 0 for leaf in leaves}
    for row in leaves:
        kinds[row["path"].split("/")[0]] += row["bytes_per_device"]
    how = pipelined(run, mesh.shape)
    stages = how and {
        "stages": how.stages,
        "microbatches": how.microbatches,
        "repeats": how.repeats,
        "bubble": bubble(how.stages, how.microbatches, how.repeats),
    }
    kinds.pop("activations", None)  # one pass of one layer, or of all: not what is held
    return {"mesh": dict(mesh.shape), "leaves": leaves, "per_device": kinds, "pipeline": stages, "remarks": remarks}


def _axes(run: ObjectiveRun) -> tuple[tuple[int, ...], tuple[str, ...]]:
    sizes = run.exec.mesh.model_dump()
    fixed = prod(size for size in sizes.values() if size > 0)
    try:
        filled = run.exec.mesh.shape(jax.device_count())
    except ConfigError:  # of another machine
        filled = run.exec.mesh.shape(fixed)
    return tuple(filled.values()), tuple(filled)


def _named(tree: Any, root: str = "") -> Shapes:
    return {root + path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _state(run: ObjectiveRun) -> Shapes:
    state = jax.eval_shape(lambda p: init_state(run, p), run.model.shapes())
    return _named(state) | _named(state.params, "gradients/")


def _batch(run: ObjectiveRun) -> Shapes:
    return {f"batch/{name}": jax.ShapeDtypeStruct(*array) for name, array in run.batch_shapes().items()}


def _activations(run: ObjectiveRun) -> Shapes:
    """What the model names while its loss is traced, as it would be on one device."""
    named: Shapes = {}

    def note(path: str, shape: tuple[int, ...]) -> None:
        if path.startswith("activations/"):
            named.setdefault(path, jax.ShapeDtypeStruct(shape, jnp.dtype(run.dtype)))

    def loss(params: Any, batch: Any) -> Any:
        with constraining(Placement(AbstractMesh((), ()), note)):
            return run.objective.loss(build_model(run), params, batch, None)

    batch = {name.split("/")[1]: leaf for name, leaf in _batch(run).items()}
    jax.eval_shape(loss, run.model.shapes(), batch)
    return named


def _text(spec: PartitionSpec, rank: int) -> str:
    parts = [*spec, *[None] * (rank - len(spec))]
    return ", ".join("-" if part is None else part if isinstance(part, str) else "+".join(part) for part in parts)
