"""Tasks that ask a language model in words, and the seam that they are values of."""

from jaxgpt.evals.tasks.choice import Choice
from jaxgpt.evals.tasks.classify import Classify
from jaxgpt.evals.tasks.cloze import Cloze
from jaxgpt.evals.tasks.generate import Generate
from jaxgpt.evals.tasks.perplexity import Perplexity
from jaxgpt.evals.tasks.task import EvalTask

__all__ = ["Choice", "Classify", "Cloze", "EvalTask", "Generate", "Perplexity"]
