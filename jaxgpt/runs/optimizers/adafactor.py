"""Adafactor: second moments factored by row and column."""

import optax
from pydantic import Field, PositiveFloat

from jaxgpt.runs.optimizers.optimizer import Optimizer


class Adafactor(Optimizer):
    """Second moments kept as row and column means: memory for one number a row."""

    citation = "Shazeer & Stern 2018"
    decay_rate: PositiveFloat = Field(default=0.8, lt=1)

    def scale(self) -> optax.GradientTransformation:
        """Factored root mean squares, then updates clipped to unit RMS (section 6)."""
        return optax.chain(optax.scale_by_factored_rms(decay_rate=self.decay_rate), optax.clip_by_block_rms(1.0))
