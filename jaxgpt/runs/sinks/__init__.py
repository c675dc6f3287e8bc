"""The metrics sink seam: trackers besides metrics.jsonl. They are optional and never the record."""

from jaxgpt.runs.sinks.mlflow import Mlflow
from jaxgpt.runs.sinks.sink import Facts, Sink, Writer
from jaxgpt.runs.sinks.tensorboard import TensorBoard
from jaxgpt.runs.sinks.trackio import Trackio
from jaxgpt.runs.sinks.wandb import Wandb

__all__ = ["Facts", "Mlflow", "Sink", "TensorBoard", "Trackio", "Wandb", "Writer"]
