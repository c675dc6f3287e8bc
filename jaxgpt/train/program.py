"""A run's compiled programs. Runs that differ only in seed, learning rate or weight decay share them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.models import Model
from jaxgpt.parallel import batch_sharding, shardings
from jaxgpt.train.attention import kernels
from jaxgpt.train.spec import Run
from jaxgpt.train.state import State
from jaxgpt.train.step import eval_step, init_state, train_step


class Program(NamedTuple):
    """Jitted functions and where their values live."""

    init: Callable[[jax.Array], State]
    step: Callable[..., tuple[State, dict[str, jax.Array]]]
    evaluate: Callable[[Any, Any], dict[str, jax.Array]]
    state: State
    """Shapes, dtypes and shardings of the state."""
    batch: NamedSharding


def program(run: Run) -> Program:
    """The programs of a run whose vocabulary is settled. Compiles nothing; raises ConfigError for mesh or kernel."""
    run.check_devices(jax.device_count())
    kernels(run)
    neutral = run.optim.evolve(lr=1.0, weight_decay=0.0)
    return _program(run.evolve(seed=0, optim=neutral, exec=run.exec.evolve(sinks=(), log_every=1, save_every=None)))


@lru_cache(maxsize=16)
def _program(run: Run) -> Program:
    mesh = run.exec.mesh.build()
    model = build_model(run)
    tx = run.optim.build()

    def init(key: jax.Array) -> State:
        return init_state(run.model.init(key), tx, run.ema is not None)

    shapes = jax.eval_shape(init, jax.random.key(0))
    placed = shardings(shapes, run.exec.rules, mesh)
    whole, rows = NamedSharding(mesh, PartitionSpec()), batch_sharding(mesh)
    step = train_step(model, run.objective, tx, run.schedule, run.steps, run.exec.accumulate, run.ema)
    return Program(
        init=jax.jit(init, out_shardings=placed),
        step=jax.jit(step, donate_argnums=0, in_shardings=(placed, rows, whole, whole), out_shardings=(placed, whole)),
        evaluate=jax.jit(eval_step(model, run.objective), in_shardings=(placed.params, rows), out_shardings=whole),
        state=jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, placed),
        batch=rows,
    )


def build_model(run: Run) -> Any:
    """The Linen module as `exec` wants it computed."""
    model: Model = run.model
    loop = run.exec.loop(getattr(model, "num_layers", 1))
    return model.build(run.exec.kernel, run.dtype, loop, run.exec.remat)
