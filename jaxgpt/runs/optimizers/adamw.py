"""AdamW: Adam with decoupled weight decay."""

import optax
from pydantic import Field, NonNegativeFloat, PositiveFloat

from jaxgpt.runs.optimizers.optimizer import Optimizer


class AdamW(Optimizer, kind="adamw"):
    """Adam with decoupled weight decay."""

    citation = "Kingma & Ba 2015; Loshchilov & Hutter 2019"
    b1: NonNegativeFloat = Field(default=0.9, lt=1)
    b2: NonNegativeFloat = Field(default=0.95, lt=1)
    eps: PositiveFloat = 1e-8

    def scale(self) -> optax.GradientTransformation:
        """The mean of the gradients over the root of the mean of their squares, both corrected for their start at 0."""
        return optax.scale_by_adam(self.b1, self.b2, self.eps)
