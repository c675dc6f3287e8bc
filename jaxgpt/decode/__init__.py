"""Cached generation."""

from jaxgpt.decode.generate import generate, ready, stream
from jaxgpt.decode.sampling import Sampling

__all__ = ["Sampling", "generate", "ready", "stream"]
