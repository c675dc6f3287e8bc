"""Tasks while a run trains: `val/cloze/accuracy` and its like, beside the loss."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxgpt.evals.tasks.task import Ask
from jaxgpt.inference.asked import Asked
from jaxgpt.inference.loaded import Loaded
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import ConfigError
from jaxgpt.text import Codec


def open_tasks(run: ObjectiveRun) -> list[Ask]:
    """What `eval.tasks` names, its data read. Raises ConfigError for bad data, for a model that is not of the kind
    that a task asks, and where several processes train."""
    if not run.eval.tasks:
        return []
    if jax.process_count() > 1:
        raise ConfigError("eval.tasks: asked by one process only; leave it out and use `jaxgpt eval` afterwards")
    for task in run.eval.tasks:
        try:
            task.suits(run.model, run.objective)
        except ConfigError as error:
            raise ConfigError(f"eval.tasks: {problem}" for problem in error.problems) from None
    return [task.opened() for task in run.eval.tasks]


def asking(run: ObjectiveRun, codec: Codec) -> Callable[[Any], dict[str, float]]:
    """Parameters -> the figures of `eval.tasks` as `val/TASK/...`; nothing where there are none."""
    asks = open_tasks(run)

    def measure(params: Any) -> dict[str, float]:
        figures: dict[str, float] = {}
        for ask in asks:
            measured = ask(Asked(Loaded(run, run.model, params, codec, run.dtype), quiet=True))
            (values,) = measured.weigh(np.ones((1, measured.items)))
            figures |= {f"val/{name}": float(value) for name, value in zip(measured.names, values, strict=True)}
        return figures

    return measure
