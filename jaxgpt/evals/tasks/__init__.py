"""Tasks that ask a model in words, of its vectors, or of its own head, and the seam that they are values of."""

from jaxgpt.evals.tasks.choice import Choice
from jaxgpt.evals.tasks.classify import Classify
from jaxgpt.evals.tasks.cloze import Cloze
from jaxgpt.evals.tasks.generate import Generate
from jaxgpt.evals.tasks.of_vectors import STS, Retrieval
from jaxgpt.evals.tasks.perplexity import Perplexity
from jaxgpt.evals.tasks.task import EvalTask
from jaxgpt.evals.tasks.text_head import TextHead

__all__ = [
    "STS",
    "Choice",
    "Classify",
    "Cloze",
    "EvalTask",
    "Generate",
    "Perplexity",
    "Retrieval",
    "TextHead",
]
