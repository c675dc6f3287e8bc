"""The step, compiled before it is run: what it takes. jax keeps it, so running it later compiles nothing again."""

import time
from typing import Any, NamedTuple

import jax

from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.train.program import Program, hyper


class CompiledStep(NamedTuple):
    """The compiled step of a run's full batch."""

    executable: Any
    trace_seconds: float
    compile_seconds: float

    @property
    def memory(self) -> int:
        """Bytes of a device's memory at the peak: arguments, results, temporaries and the program itself."""
        m = self.executable.memory_analysis()
        both = m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
        return int(both + m.temp_size_in_bytes + m.generated_code_size_in_bytes)


def compile_step(run: ObjectiveRun, program: Program) -> CompiledStep:
    """Compiles without data, for devices that need not be at hand. Raises JaxRuntimeError where XLA cannot."""
    began = time.perf_counter()
    key_and_inputs = jax.tree.map(_shape, (jax.eval_shape(lambda: jax.random.key(0)), hyper(run)))
    lowered = program.step.lower(program.state, batch_shapes(run, program), *key_and_inputs)  # type: ignore[attr-defined]
    traced = time.perf_counter()
    executable = lowered.compile()
    return CompiledStep(executable, traced - began, time.perf_counter() - traced)


def batch_shapes(run: ObjectiveRun, program: Program) -> dict[str, jax.ShapeDtypeStruct]:
    """What training gives the step, as shapes."""
    shapes = {name: jax.ShapeDtypeStruct(*array) for name, array in run.batch_shapes().items()}
    return jax.tree.map(lambda leaf, where: leaf.update(sharding=where), shapes, program.batch_shardings(shapes))


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)
