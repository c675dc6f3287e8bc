"""A run's compiled programs. Runs that differ only in seed and in inputs (learning rate, dropout, ...) share them."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.models import Model
from jaxgpt.parallel import batch_sharding, shardings, training_devices
from jaxgpt.spec.inputs import bind, inputs, stand_in
from jaxgpt.train.attention import kernels
from jaxgpt.train.spec import Run
from jaxgpt.train.state import State
from jaxgpt.train.step import eval_step, init_state, train_step

Hyper = Mapping[str, jax.Array]
"""The run's inputs by dotted path, float32 scalars."""
Metrics = dict[str, jax.Array]


class Functions(NamedTuple):
    """What a run computes: pure, and the same for all runs that `signature` holds equal."""

    init: Callable[[jax.Array, Hyper], State]
    step: Callable[[State, Any, jax.Array, Hyper], tuple[State, Metrics]]
    evaluate: Callable[[Any, Any, Hyper], Metrics]


class Program(NamedTuple):
    """`Functions`, jitted, and where their values live."""

    init: Callable[[jax.Array, Hyper], State]
    step: Callable[[State, Any, jax.Array, Hyper], tuple[State, Metrics]]
    evaluate: Callable[[Any, Any, Hyper], Metrics]
    state: State
    """Shapes, dtypes and shardings of the state."""
    batch: NamedSharding


def program(run: Run) -> Program:
    """The programs of a run whose vocabulary is settled. Compiles nothing; raises ConfigError for mesh or kernel."""
    run.check_devices(len(training_devices()))
    kernels(run)
    return _program(signature(run))


def signature(run: Run) -> Run:
    """The run that stands for all those with the same programs."""
    return stand_in(run.evolve(seed=0, exec=run.exec.evolve(sinks=(), log_every=1, save_every=None)))


def hyper(run: Run) -> Hyper:
    """The inputs that `Program` wants."""
    return {name: jnp.float32(value) for name, value in inputs(run).items()}


def functions(run: Run) -> Functions:
    """The pure functions of a signature."""
    tx = run.optim.build()

    def init(key: jax.Array, values: Hyper) -> State:
        return init_state(bind(run, values).model.init(key), tx, run.ema is not None)

    def step(state: State, batch: Any, key: jax.Array, values: Hyper) -> tuple[State, Metrics]:
        live = bind(run, values)
        one = train_step(build_model(live), live.objective, tx, run.schedule, run.steps, run.exec.accumulate, run.ema)
        settings = {"lr": live.optim.lr, "weight_decay": live.optim.weight_decay}
        return one(state, batch, key, {name: jnp.float32(value) for name, value in settings.items()})

    def evaluate(params: Any, batch: Any, values: Hyper) -> Metrics:
        live = bind(run, values)
        return eval_step(build_model(live), live.objective)(params, batch)

    return Functions(init, step, evaluate)


@lru_cache(maxsize=16)
def _program(run: Run) -> Program:
    mesh = run.exec.mesh.build(training_devices())
    init, step, evaluate = functions(run)
    shapes = jax.eval_shape(init, jax.random.key(0), hyper(run))
    placed = shardings(shapes, run.exec.rules, mesh)
    whole, rows = NamedSharding(mesh, PartitionSpec()), batch_sharding(mesh)
    return Program(
        init=jax.jit(init, out_shardings=placed),
        step=jax.jit(step, donate_argnums=0, in_shardings=(placed, rows, whole, whole), out_shardings=(placed, whole)),
        evaluate=jax.jit(evaluate, in_shardings=(placed.params, rows, whole), out_shardings=whole),
        state=jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, placed),
        batch=rows,
    )


def build_model(run: Run) -> Any:
    """The Linen module as `exec` wants it computed."""
    model: Model = run.model
    loop = run.exec.loop(getattr(model, "num_layers", 1))
    return model.build(run.exec.kernel, run.dtype, loop, run.exec.remat)
