"""Cached generation: for a reader (`generate`, `stream`, `beam_search`), and as a pure function on the device
(`rollout`)."""

from jaxgpt.decode.beams import BeamSearch, Hypothesis, beam_search
from jaxgpt.decode.generation import generate, stream
from jaxgpt.decode.rollouts import Rollout, rollout
from jaxgpt.decode.sampling import Sampling

__all__ = ["BeamSearch", "Hypothesis", "Rollout", "Sampling", "beam_search", "generate", "rollout", "stream"]
