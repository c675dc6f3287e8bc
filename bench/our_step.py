"""The step that `jaxgpt train` makes, compiled ahead so that compiling is timed apart and memory is known."""

import time
from typing import Any

import jax
import numpy as np

from jaxgpt.runs import ObjectiveRun
from jaxgpt.train.program import Program, hyper, program
from jaxgpt.train.state import init_state


class OurStep:
    """Updates of one run on one batch, which comes from the host every time, on one device."""

    def __init__(self, run: ObjectiveRun, batch: dict[str, np.ndarray]):
        compiled = program(run, jax.devices()[:1])
        self._host, self._rows = batch, compiled.batch_shardings(batch)
        self._key, self._values = jax.random.key(run.seed), hyper(run)
        self.state = compiled.init(self._key, self._values)._replace(frozen=_frozen(run, compiled))
        jax.block_until_ready(self.state)
        start = time.perf_counter()
        self._step = compiled.step.lower(self.state, self._on_device(), self._key, self._values).compile()
        self.compile_seconds = time.perf_counter() - start

    def __call__(self) -> None:
        """One update, up to parameters that are ready."""
        self._dispatch()
        jax.block_until_ready(self.state)

    def block(self, count: int) -> float:
        """Seconds of an update, mean of `count` that are waited for together, as training does."""
        start = time.perf_counter()
        for _ in range(count):
            self._dispatch()
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) / count

    @property
    def bytes(self) -> int:
        """The most that the program holds at once, by the compiler: arguments, results, temporaries."""
        memory = self._step.memory_analysis()
        shared = memory.alias_size_in_bytes
        return memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes - shared

    def _on_device(self) -> Any:
        return jax.device_put(self._host, self._rows)

    def _dispatch(self) -> None:
        self.state, _ = self._step(self.state, self._on_device(), self._key, self._values)


def _frozen(run: ObjectiveRun, compiled: Program) -> Any:
    """What the run does not train, at random, as its storage has it; None where it trains all."""
    where = jax.tree.map(lambda leaf: leaf.sharding, compiled.state.frozen)
    drawn = jax.jit(lambda key: init_state(run, run.model.init(key)).frozen, out_shardings=where)
    return drawn(jax.random.key(run.seed))


def random_tokens(run: ObjectiveRun) -> dict[str, np.ndarray]:
    """A batch of a language model: tokens and targets, int32 (B, T)."""
    ids = np.random.default_rng(0).integers(0, run.model.vocab_size, (run.batch_size, run.seq_len + 1), np.int32)
    return {"tokens": ids[:, :-1], "targets": ids[:, 1:]}
