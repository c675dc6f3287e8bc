"""Passes over what a run has held out: its loss, its task's metrics, and how well its vectors order pairs of texts."""

from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.objectives import Objective
from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.train.device_batch import put
from jaxgpt.train.figures import figures
from jaxgpt.train.opening import Opened
from jaxgpt.train.program import Hyper, Program
from jaxgpt.train.val_sts import similarity
from jaxgpt.train.val_tasks import asking


class Validation:
    """What is measured of a run's weights, and when."""

    def __init__(self, opened: Opened, values: Hyper):
        run = self._run = opened.run
        self._program, self._values = opened.program, values
        self._held_out = opened.data.val_batches(run.eval.batch_size or run.batch_size)
        self._similarity = similarity(run, opened.data.codec, opened.folder)
        self._asking = asking(run, opened.data.codec)

    def due(self, step: int) -> bool:
        """Whether there is a pass after that step: every so often, and after the last."""
        asked = len(self._held_out) > 0 or self._run.eval.sts is not None or len(self._run.eval.tasks) > 0
        return asked and (step == self._run.steps or due(step, self._run.eval.every))

    def measure(self, weights: Any) -> dict[str, float]:
        """`val/loss` and the objective's metrics, where something is held out, and what `eval.sts` and `eval.tasks`
        ask for."""
        others = self._similarity(weights) | self._asking(weights)
        if not self._held_out:
            return others
        rows = self._run.eval.batch_size or self._run.batch_size
        carry = self._run.model.cache(rows, 0) if self._run.data.streams else None
        return validate(self._program, self._run.objective, weights, self._held_out, self._values, carry) | others


def validate(
    program: Program, objective: Objective, weights: Any, held_out: ValPass, values: Hyper, carry: Any = None
) -> dict[str, float]:
    """`val/loss`, the mean by weight over everything held out (nats a token, say), and the objective's metrics; of
    streams with the state `carry`, which goes from batch to batch."""
    parts = []
    if carry is not None:
        carry = jax.device_put(carry, NamedSharding(program.mesh, PartitionSpec()))  # as `evaluate` gives it
    for span in held_out.spans:
        batch = put(held_out.rows, span, program.batch_shardings)
        metrics = program.evaluate(weights, batch if carry is None else {**batch, "carry": carry}, values)
        carry = metrics.pop("carry", None)
        parts.append(metrics)
    return figures(objective, jax.device_get(parts))


def due(step: int, every: int | None) -> bool:
    """Whether something that happens every so many steps happens after that one; None: never."""
    return every is not None and step % every == 0
