"""What a model's vectors are good for: semantic similarity (`evals.sts`), retrieval, and the adapter for mteb. And how
well it answers about labelled texts (`evals.labelled`)."""

from jaxgpt.evals.tasks import LABELLED, TASKS, check_task, open_task, show
from jaxgpt.evals.vectors import Encode

__all__ = ["LABELLED", "TASKS", "Encode", "check_task", "open_task", "show"]
