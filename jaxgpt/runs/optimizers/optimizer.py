"""The optimiser seam. Every one clips by global norm, decays matrices only, and takes its learning rate as an input."""

from abc import abstractmethod

import optax
from pydantic import NonNegativeFloat, PositiveFloat

from jaxgpt.runs.optimizers.matrices import decayed
from jaxgpt.spec import Seam


class Optimizer(Seam, seam="optim"):
    """Base of all optimisers: a direction for each parameter, with clipping, weight decay and learning rate around."""

    inputs = ("lr", "weight_decay")
    lr: PositiveFloat
    """The peak learning rate, which the schedule multiplies."""
    clip: PositiveFloat | None = 1.0
    """Largest global gradient norm; null turns clipping off."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled, times the learning rate; of matrices and tables alone, never on biases and norm gains (Radford et al.
    2018, section 4.1)."""

    @abstractmethod
    def scale(self) -> optax.GradientTransformation:
        """Gradients to a descent direction of unit learning rate, before decay."""

    def build(self) -> optax.GradientTransformationExtraArgs:
        """The whole update, for the learning rate and weight decay that the fields hold: numbers, or traced ones.

        `update` may be given the loss as `value`, its gradient as `grad` and, as a function of the parameters,
        `value_fn` (optax's names); those parts of `scale` that take them get them.
        """
        return optax.chain(
            optax.clip_by_global_norm(self.clip) if self.clip is not None else optax.identity(),
            self.scale(),
            optax.add_decayed_weights(self.weight_decay, decayed),
            optax.scale_by_learning_rate(self.lr),
        )
