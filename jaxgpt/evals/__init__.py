"""What a model is measured by: tasks (`evals.tasks`), in words, about labelled texts (`evals.labelled`), or of what its
vectors are good for (`evals.sts`, `evals.retrieval`), figures with intervals (`evals.measured`), and adapters for
mteb and lm-eval."""

from jaxgpt.evals.tasks.task import EvalTask
from jaxgpt.evals.vectors import Encode

__all__ = ["Encode", "EvalTask"]
