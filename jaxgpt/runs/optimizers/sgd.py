"""Stochastic gradient descent."""

import optax
from pydantic import Field, NonNegativeFloat

from jaxgpt.runs.optimizers.optimizer import Optimizer


class SGD(Optimizer, kind="sgd"):
    """Stochastic gradient descent with (Nesterov) momentum."""

    citation = "Sutskever et al. 2013"
    momentum: NonNegativeFloat = Field(default=0.9, lt=1)
    nesterov: bool = False

    def scale(self) -> optax.GradientTransformation:
        """The sum of all gradients so far, each decayed by `momentum` a step."""
        return optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity()
