"""Cached generation."""

from jaxgpt.decode.generation import generate, ready, stream
from jaxgpt.decode.sampling import Sampling

__all__ = ["Sampling", "generate", "ready", "stream"]
