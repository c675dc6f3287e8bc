"""Muon: orthogonalised momentum for matrices."""

from typing import Any

import jax
import optax
from pydantic import Field, NonNegativeFloat, PositiveFloat

from jaxgpt.runs.optimizers.matrices import in_blocks, is_matrix
from jaxgpt.runs.optimizers.optimizer import Optimizer


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
