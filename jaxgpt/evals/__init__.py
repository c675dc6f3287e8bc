"""What a model's vectors are good for: semantic similarity (`evals.sts`), retrieval, and the adapter for mteb."""

from jaxgpt.evals.tasks import TASKS, open_task, show
from jaxgpt.evals.vectors import Encode

__all__ = ["TASKS", "Encode", "open_task", "show"]
