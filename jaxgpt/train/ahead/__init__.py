"""A run's training step compiled for TPUs that are not there: what it needs, what it says, how long it would take."""

from jaxgpt.train.ahead.ask import Answer, compile_for
from jaxgpt.train.ahead.search import search
from jaxgpt.train.ahead.verb import compile_ahead

__all__ = ["Answer", "compile_ahead", "compile_for", "search"]
