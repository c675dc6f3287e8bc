"""The optimiser seam. Every one clips by global norm, decays matrices only, and takes its learning rate as an input."""

from abc import abstractmethod
from typing import Any

import jax
import optax
from pydantic import Field, NonNegativeFloat, PositiveFloat

from jaxgpt.runs.matrices import decayed, in_blocks, is_matrix
from jaxgpt.spec import Seam


class Optimizer(Seam, seam="optim"):
    """Base of all optimisers."""

    inputs = ("lr", "weight_decay")
    lr: PositiveFloat
    """Peak learning rate."""
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


class AdamW(Optimizer, kind="adamw"):
    """Adam with decoupled weight decay."""

    citation = "Kingma & Ba 2015; Loshchilov & Hutter 2019"
    b1: NonNegativeFloat = Field(default=0.9, lt=1)
    b2: NonNegativeFloat = Field(default=0.95, lt=1)
    eps: PositiveFloat = 1e-8

    def scale(self) -> optax.GradientTransformation:
        """Bias-corrected first over root second moment."""
        return optax.scale_by_adam(self.b1, self.b2, self.eps)


class Adafactor(Optimizer):
    """Second moments kept as row and column means: memory for one number a row."""

    citation = "Shazeer & Stern 2018"
    decay_rate: PositiveFloat = Field(default=0.8, lt=1)

    def scale(self) -> optax.GradientTransformation:
        """Factored root mean squares, then updates clipped to unit RMS (section 6)."""
        return optax.chain(optax.scale_by_factored_rms(decay_rate=self.decay_rate), optax.clip_by_block_rms(1.0))


class Lion(Optimizer):
    """The sign of an interpolated momentum. Wants a learning rate 3 to 10 times below AdamW's."""

    citation = "Chen et al. 2023, algorithm 2"
    b1: NonNegativeFloat = Field(default=0.9, lt=1)
    b2: NonNegativeFloat = Field(default=0.99, lt=1)

    def scale(self) -> optax.GradientTransformation:
        """The sign of the momentum, ±1 for each weight."""
        return optax.scale_by_lion(self.b1, self.b2)


class SGD(Optimizer, kind="sgd"):
    """Stochastic gradient descent with (Nesterov) momentum."""

    citation = "Sutskever et al. 2013"
    momentum: NonNegativeFloat = Field(default=0.9, lt=1)
    nesterov: bool = False

    def scale(self) -> optax.GradientTransformation:
        """The decayed sum of gradients."""
        return optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity()


class Muon(Optimizer):
    """Orthogonalised momentum for the blocks' matrices; AdamW for embeddings, output, biases and gains.

    The update has unit RMS of AdamW's size (`0.2·√max(in, out)`), so AdamW's learning rate carries over.
    """

    citation = "Jordan et al. 2024; Liu et al. 2025 (Moonlight), section 2.2"
    momentum: NonNegativeFloat = Field(default=0.95, lt=1)
    b1: NonNegativeFloat = Field(default=0.9, lt=1)
    b2: NonNegativeFloat = Field(default=0.95, lt=1)
    eps: PositiveFloat = 1e-8

    def scale(self) -> optax.GradientTransformation:
        """Newton-Schulz on matrices, layer by layer; Adam elsewhere."""
        from optax.contrib import MuonDimensionNumbers, scale_by_muon

        def dimensions(params: Any) -> Any:
            return jax.tree.map(lambda leaf: MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1), params)

        def label(params: Any) -> Any:
            return jax.tree_util.tree_map_with_path(
                lambda path, leaf: "muon" if in_blocks(path) and is_matrix(path, leaf) else "adam", params
            )

        muon = optax.chain(
            scale_by_muon(beta=self.momentum, weight_dimension_numbers=dimensions),
            optax.stateless_with_tree_map(lambda update, _: 0.2 * max(update.shape[-2:]) ** 0.5 * update),
        )
        adam = optax.scale_by_adam(self.b1, self.b2, self.eps)
        return optax.partition({"muon": muon, "adam": adam}, label)
