"""What a run is, and what it leaves: its spec, how it is computed, its folder and checkpoints."""

from jaxgpt.runs.exec import Exec
from jaxgpt.runs.optimizers import Optimizer
from jaxgpt.runs.run import BatchRamp, Evaluation, Run
from jaxgpt.runs.schedules import Schedule
from jaxgpt.runs.sinks import Sink

__all__ = ["BatchRamp", "Evaluation", "Exec", "Optimizer", "Run", "Schedule", "Sink"]
