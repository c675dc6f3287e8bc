"""A run's compiled programs. Runs that differ only in seed and in inputs (learning rate, dropout, ...) share them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgpt.models import Model
from jaxgpt.ops.sharding import Placement, constraining
from jaxgpt.parallel import placement_of, shardings, training_devices
from jaxgpt.parallel.compiler_options import step_options
from jaxgpt.runs.fits import check_devices
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.pipeline import layer_loop
from jaxgpt.spec.inputs import bind, inputs
from jaxgpt.train.gradient import Metrics
from jaxgpt.train.state import State, init_state
from jaxgpt.train.step import eval_step, train_step

Hyper = Mapping[str, jax.Array]
"""The run's inputs by dotted path, float32 scalars."""


@dataclass(frozen=True)
class Functions:
    """What a run computes: pure, and the same for all runs of one signature."""

    init: Callable[[jax.Array, Hyper], State]
    step: Callable[[State, Any, jax.Array, Hyper], tuple[State, Metrics]]
    evaluate: Callable[[Any, Any, Hyper], Metrics]


@dataclass(frozen=True)
class Program(Functions):
    """The functions, jitted, and where their values live. `init` leaves out what is frozen: it comes from elsewhere."""

    state: State
    """Shapes, dtypes and shardings of the state."""
    mesh: Mesh
    batch_shardings: Callable[[Any], Any]
    """A batch's arrays, or their shapes, -> the sharding of each by its own shape: rows, and tokens where it has them.
    `step` and `evaluate` take batches that lie so already."""


def program(run: ObjectiveRun, devices: Sequence[jax.Device] | None = None) -> Program:
    """The programs of a run whose vocabulary is settled, on `devices` (default: `training_devices`), which need not be
    at hand. Compiles nothing; raises ConfigError for mesh or kernel."""
    devices = training_devices() if devices is None else devices
    check_devices(run, len(devices))
    kernels(run, devices[0].platform)
    return _program(same_functions(run.signature()), tuple(devices))


def same_functions(signature: ObjectiveRun) -> ObjectiveRun:
    """The signature that stands for all with the same functions: which text is read, and when a run is measured, is the
    host's alone."""
    text = {"corpus": "stdlib", "val_tokens": None, "val_bytes": None}
    when = {"every": None, "metric": None, "patience": None, "sts": None}
    return signature.evolve(data=signature.data.evolve(**text), eval=signature.eval.evolve(**when))


def hyper(run: ObjectiveRun) -> Hyper:
    """The inputs that `Program` wants."""
    return {name: jnp.float32(value) for name, value in inputs(run).items()}


def functions(run: ObjectiveRun, placement: Placement | None = None) -> Functions:
    """The pure functions of a signature, with named values put where `placement` says."""

    def init(key: jax.Array, values: Hyper) -> State:
        live = bind(run, values)
        return init_state(live, live.model.init(key))

    def step(state: State, batch: Any, key: jax.Array, values: Hyper) -> tuple[State, Metrics]:
        live = bind(run, values)
        with constraining(placement):
            return train_step(live, build_model(live), state, batch, key)

    def evaluate(params: Any, batch: Any, values: Hyper) -> Metrics:
        live = bind(run, values)
        with constraining(placement):
            return eval_step(live, build_model(live), params, batch)

    return Functions(init, step, evaluate)


@lru_cache(maxsize=16)
def _program(run: ObjectiveRun, devices: tuple[jax.Device, ...]) -> Program:
    mesh = run.exec.mesh.build(devices)
    pure = functions(run, placement_of(run.exec.rules, mesh))
    shapes = jax.eval_shape(pure.init, jax.random.key(0), hyper(run))
    placed = shardings(shapes, run.exec.rules, mesh)
    whole = NamedSharding(mesh, PartitionSpec())
    jit = partial(jax.jit, compiler_options=step_options(devices[0].platform))
    return Program(
        init=jax.jit(lambda key, values: pure.init(key, values).saved, out_shardings=placed.saved),
        step=jit(pure.step, donate_argnums=0, in_shardings=(placed, None, whole, whole), out_shardings=(placed, whole)),
        evaluate=jit(pure.evaluate, in_shardings=(placed.model_params, None, whole), out_shardings=whole),
        state=jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, placed),
        mesh=mesh,
        batch_shardings=partial(shardings, rules=run.exec.rules, mesh=mesh, root="batch/"),
    )


def build_model(run: ObjectiveRun) -> Any:
    """The Linen module as `exec` wants it computed."""
    model: Model = run.model
    return model.build(run.exec.kernel, run.dtype, layer_loop(run), run.exec.remat)
