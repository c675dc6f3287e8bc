"""Runs of one signature as one program: L lanes, one a run, split evenly over the devices.

A lane's arithmetic is that of its own run, whatever its neighbours hold: a device's lanes are a `vmap`, and nothing
crosses between devices. It is not bit for bit that of a solo run, whose program XLA arranges differently.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.run import Run
from jaxgpt.spec import ConfigError
from jaxgpt.train.program import Functions, functions, hyper, signature
from jaxgpt.train.state import State


@dataclass(frozen=True)
class FusedProgram(Functions):
    """Jitted functions over lanes: all arguments and results lead with L, but `evaluate`'s batch, which all share."""

    size: int
    """L."""
    lane: State
    """Shapes and dtypes of one lane's state."""
    lanes: NamedSharding
    whole: NamedSharding

    def stack(self, trees: Sequence[Any]) -> Any:
        """One tree a run -> leaves (L, ...) on the devices; places without a run repeat the last one."""
        padded = [*trees, *[trees[-1]] * (self.size - len(trees))]
        return jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *padded), self.lanes)


def refusal(run: Run) -> str | None:
    """Why a run cannot be a lane; None: it can."""
    mesh = run.exec.mesh.model_dump()
    if any(size != 1 for name, size in mesh.items() if name != "data") or mesh["data"] not in (-1, 1):
        return f"exec.mesh {mesh} spreads one run over devices, where fusing spreads runs"
    if run.start is not None or run.eval.sts is not None:
        return "start and eval.sts are about one run's weights"
    if run.batch_ramp is not None:
        return "batch_ramp changes the batch's shape while it trains"
    return "several processes share this run" if jax.process_count() > 1 else None


def fused_program(run: Run, count: int) -> FusedProgram:
    """The program of `count` lanes, or of the next multiple of the devices. Compiles nothing.

    Raises ConfigError with `refusal`'s reason, or where the kernel cannot.
    """
    why = refusal(run)
    if why is not None:
        raise ConfigError(f"lab.fuse: this run cannot be fused: {why}; use lab.fuse=off")
    kernels(run)
    devices = min(count, len(jax.devices()))
    return _program(signature(run), -(-count // devices), devices)


@lru_cache(maxsize=16)
def _program(run: Run, width: int, devices: int) -> FusedProgram:
    mesh = Mesh(np.array(jax.devices()[:devices]), ("lanes",), axis_types=(AxisType.Auto,))
    split, whole = PartitionSpec("lanes"), PartitionSpec()
    pure = functions(run)

    def fuse(call: Callable[..., Any], shared: tuple[int, ...] = (), arguments: int = 4) -> Callable[..., Any]:
        axes = tuple(None if i in shared else 0 for i in range(arguments))

        def on_device(*args: Any) -> Any:
            if width > 1:
                return jax.vmap(call, axes)(*args)
            # A batch of one would cost a tenth more on a CPU.
            one = (jax.tree.map(lambda x: x[0], a) if axis == 0 else a for a, axis in zip(args, axes, strict=True))
            return jax.tree.map(lambda x: x[None], call(*one))

        specs = tuple(whole if axis is None else split for axis in axes)
        return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)

    return FusedProgram(
        init=jax.jit(fuse(pure.init, arguments=2)),
        step=jax.jit(fuse(pure.step), donate_argnums=0),
        evaluate=jax.jit(fuse(pure.evaluate, shared=(1,), arguments=3)),
        size=width * devices,
        lane=jax.eval_shape(pure.init, jax.random.key(0), hyper(run)),
        lanes=NamedSharding(mesh, split),
        whole=NamedSharding(mesh, whole),
    )
