"""Lion: the sign of an interpolated momentum."""

import optax
from pydantic import Field, NonNegativeFloat

from jaxgpt.runs.optimizers.optimizer import Optimizer


class Lion(Optimizer):
    """The sign of an interpolated momentum. Wants a learning rate 3 to 10 times below AdamW's."""

    citation = "Chen et al. 2023, algorithm 2"
    b1: NonNegativeFloat = Field(default=0.9, lt=1)
    b2: NonNegativeFloat = Field(default=0.99, lt=1)

    def scale(self) -> optax.GradientTransformation:
        """The sign of the momentum, ±1 for each weight."""
        return optax.scale_by_lion(self.b1, self.b2)
