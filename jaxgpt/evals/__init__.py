"""What a model is measured by: tasks asked in words (`evals.tasks`), how well it answers about labelled texts
(`evals.labelled`), and what its vectors are good for: semantic similarity, retrieval, the adapter for mteb."""

from jaxgpt.evals.tasks.task import EvalTask
from jaxgpt.evals.vectors import Encode

__all__ = ["Encode", "EvalTask"]
