"""F5: optimiser, state, step, loop, checkpoint."""

from jaxgpt.train.exec import Exec
from jaxgpt.train.loop import run
from jaxgpt.train.optim import Optimizer
from jaxgpt.train.schedule import Schedule
from jaxgpt.train.sinks import Sink
from jaxgpt.train.spec import BatchRamp, Evaluation, Run

__all__ = ["BatchRamp", "Evaluation", "Exec", "Optimizer", "Run", "Schedule", "Sink", "run"]
