"""Runs of one signature as one program: L lanes, one a run, split evenly over the devices.

A lane's arithmetic is that of its own run, whatever its neighbours hold: a device's lanes are a `vmap`, and nothing
crosses between devices. It is not bit for bit that of a solo run, whose program XLA arranges differently.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgpt.parallel.compiler_options import step_options
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.trainable import merge_params
from jaxgpt.spec import ConfigError
from jaxgpt.train.program import Functions, functions, hyper, same_functions
from jaxgpt.train.state import State


@dataclass(frozen=True)
class FusedProgram(Functions):
    """Jitted functions over lanes: all arguments and results lead with L, but `evaluate`'s batch and what is frozen,
    which all share. `init` leaves that out."""

    size: int
    """L, the number of lanes: the same on every device."""
    lane: State
    """Shapes and dtypes of one lane's state."""
    lanes: NamedSharding
    whole: NamedSharding

    def stack(self, trees: Sequence[Any]) -> Any:
        """One tree a run -> leaves (L, ...) on the devices; places without a run repeat the last one."""
        padded = [*trees, *[trees[-1]] * (self.size - len(trees))]
        return jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *padded), self.lanes)


def refusal(run: Any) -> str | None:
    """Why a run cannot be a lane; None: it can."""
    if not run.one_program:
        return f"runs of kind {run.kind} have loops of their own"
    mesh = run.exec.mesh.model_dump()
    if any(size != 1 for name, size in mesh.items() if name != "data") or mesh["data"] not in (-1, 1):
        return f"exec.mesh {mesh} spreads one run over devices, where fusing spreads runs"
    if run.eval.sts is not None:
        return "eval.sts is about one run's weights"
    if run.eval.tasks:
        return "eval.tasks are asked of one run's weights"
    if run.data.streams:
        return "data.streams carry one run's state"
    if run.trained is not None and run.start_name != run.start:
        return "start names other weights for every seed, and what is not trained is shared"
    if run.batch_ramp is not None:
        return "batch_ramp changes the batch's shape while it trains"
    return "several processes share this run" if jax.process_count() > 1 else None


def fused_program(run: ObjectiveRun, count: int) -> FusedProgram:
    """The program of `count` lanes, or of the next multiple of the devices. Compiles nothing.

    Raises ConfigError with `refusal`'s reason, or where the kernel cannot.
    """
    why = refusal(run)
    if why is not None:
        raise ConfigError(f"lab.fuse: this run cannot be fused: {why}; use lab.fuse=off")
    kernels(run)
    devices = min(count, len(jax.devices()))
    return _program(same_functions(run.signature()), -(-count // devices), devices)


@lru_cache(maxsize=16)
def _program(run: ObjectiveRun, width: int, devices: int) -> FusedProgram:
    mesh = Mesh(np.array(jax.devices()[:devices]), ("lanes",), axis_types=(AxisType.Auto,))
    split, whole = PartitionSpec("lanes"), PartitionSpec()
    pure = functions(run)
    lane = jax.eval_shape(pure.init, jax.random.key(0), hyper(run))
    state = State(0, 0, 0, 0, frozen=None)  # type: ignore[arg-type]  # axes
    weights = merge_params(jax.tree.map(lambda _: 0, lane.params), jax.tree.map(lambda _: None, lane.frozen))

    def fuse(call: Callable[..., Any], axes: tuple[Any, ...], out: Any = 0) -> Callable[..., Any]:
        """`axes` and `out`, trees over arguments and results: 0 where they lead with lanes, None where all share."""

        def on_device(*args: Any) -> Any:
            if width > 1:
                return jax.vmap(call, axes, out)(*args)
            # A batch of one would cost a tenth more on a CPU.
            return _where_lanes(lambda x: x[None], out, call(*_where_lanes(lambda x: x[0], axes, args)))

        places = [jax.tree.map(lambda axis: whole if axis is None else split, t, is_leaf=_none) for t in (axes, out)]
        return jax.shard_map(on_device, mesh=mesh, in_specs=places[0], out_specs=places[1], check_vma=False)

    jit = partial(jax.jit, compiler_options=step_options(jax.default_backend()))
    return FusedProgram(
        init=jax.jit(fuse(lambda key, values: pure.init(key, values).saved, (0, 0), state)),
        step=jit(fuse(pure.step, (state, 0, 0, 0), (state, 0)), donate_argnums=0),
        evaluate=jit(fuse(pure.evaluate, (weights, None, 0))),
        size=width * devices,
        lane=lane,
        lanes=NamedSharding(mesh, split),
        whole=NamedSharding(mesh, whole),
    )


def _none(axis: Any) -> bool:
    return axis is None


def _where_lanes(change: Callable[[Any], Any], axes: Any, tree: Any) -> Any:
    """`tree` with its leaves changed but where `axes`, a prefix of it, has None."""
    return jax.tree.map(lambda axis, sub: sub if axis is None else jax.tree.map(change, sub), axes, tree, is_leaf=_none)
