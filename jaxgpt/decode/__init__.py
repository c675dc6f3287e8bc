"""Cached generation: for a reader (`generate`, `stream`), and as a pure function on the device (`rollout`)."""

from jaxgpt.decode.generation import generate, stream
from jaxgpt.decode.rollouts import Rollout, rollout
from jaxgpt.decode.sampling import Sampling

__all__ = ["Rollout", "Sampling", "generate", "rollout", "stream"]
