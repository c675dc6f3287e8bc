"""The optimiser seam: one optimiser a file."""

from jaxgpt.runs.optimizers.adafactor import Adafactor
from jaxgpt.runs.optimizers.adamw import AdamW
from jaxgpt.runs.optimizers.lion import Lion
from jaxgpt.runs.optimizers.muon import Muon
from jaxgpt.runs.optimizers.optimizer import Optimizer
from jaxgpt.runs.optimizers.sgd import SGD

__all__ = ["SGD", "Adafactor", "AdamW", "Lion", "Muon", "Optimizer"]
