"""Passes over what a run has held out: its loss there, and how well its vectors order pairs of texts."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.train.device_batch import put
from jaxgpt.train.opening import Opened
from jaxgpt.train.program import Hyper, Program
from jaxgpt.train.val_sts import similarity


class Validation:
    """What is measured of a run's weights, and when."""

    def __init__(self, opened: Opened, values: Hyper):
        run = self._run = opened.run
        self._program, self._values = opened.program, values
        self._held_out = opened.data.val_batches(run.eval.batch_size or run.batch_size)
        self._similarity = similarity(run, opened.data.codec, opened.folder)

    def due(self, step: int) -> bool:
        """Whether there is a pass after that step: every so often, and after the last."""
        asked = len(self._held_out) > 0 or self._run.eval.sts is not None
        return asked and (step == self._run.steps or due(step, self._run.eval.every))

    def measure(self, weights: Any) -> tuple[float | None, Mapping[str, float]]:
        """Mean loss in nats a token, None where nothing is held out, and what `eval.sts` asks for."""
        loss = validate(self._program, weights, self._held_out, self._values) if self._held_out else None
        return loss, self._similarity(weights)


def validate(program: Program, weights: Any, held_out: ValPass, values: Hyper) -> float:
    """Mean loss in nats a token over every held-out token."""
    batches = (put(held_out.rows, span, program.batch_shardings) for span in held_out.spans)
    parts = [program.evaluate(weights, batch, values) for batch in batches]
    pairs = [(float(part["loss"]), float(part["weight"])) for part in jax.device_get(parts)]
    return sum(loss * weight for loss, weight in pairs) / sum(weight for _, weight in pairs)


def due(step: int, every: int | None) -> bool:
    """Whether something that happens every so many steps happens after that one; None: never."""
    return every is not None and step % every == 0
