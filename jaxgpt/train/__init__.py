"""State, step, program and loop: how a run is trained."""

from jaxgpt.train.loop import run

__all__ = ["run"]
