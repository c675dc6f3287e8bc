"""A run's training step compiled for TPUs that are not there: what it needs, what it says, how long it would take."""

from jaxgpt.aot.command import compile_ahead
from jaxgpt.aot.compilation import Answer, compile_for
from jaxgpt.aot.mesh_search import search

__all__ = ["Answer", "compile_ahead", "compile_for", "search"]
