"""What a run is, and what it leaves: its spec, how it is computed, its folder and checkpoints."""

import jaxgpt.peft  # noqa: F401  its members, so that files may name them
from jaxgpt.runs.batch_rows import BatchRamp
from jaxgpt.runs.evaluation import Evaluation
from jaxgpt.runs.exec import Exec
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.optimizers import Optimizer
from jaxgpt.runs.run import Cost, Run
from jaxgpt.runs.schedules import Schedule
from jaxgpt.runs.sinks import Sink

__all__ = ["BatchRamp", "Cost", "Evaluation", "Exec", "ObjectiveRun", "Optimizer", "Run", "Schedule", "Sink"]
