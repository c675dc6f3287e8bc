"""The metrics sink seam: trackers besides metrics.jsonl. They are optional and never the record."""

from jaxgpt.train.sinks.mlflow import Mlflow
from jaxgpt.train.sinks.sink import Facts, Sink, Writer
from jaxgpt.train.sinks.tensorboard import TensorBoard
from jaxgpt.train.sinks.trackio import Trackio
from jaxgpt.train.sinks.wandb import Wandb

__all__ = ["Facts", "Mlflow", "Sink", "TensorBoard", "Trackio", "Wandb", "Writer"]
