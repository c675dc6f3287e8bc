"""The objective seam."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
from flax import linen as nn

from jaxgpt.spec import Seam

Batch = Mapping[str, jax.Array]
"""`tokens`, `targets` int32 (B, T); where needed `weights` float32, `segments` and `positions` int32 (B, T)."""


class Objective(Seam, seam="objective"):
    """A loss over a batch."""

    next_token: ClassVar[bool] = False
    """Whether targets are the tokens that follow: then no pattern may show them."""

    @abstractmethod
    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The float32 scalar to minimise, and metrics.

        Both are means over the batch's weight, which `metrics["weight"]` holds: parts of a batch add up exactly.
        `metrics["loss"]` is what is reported as train/loss and val/loss. A key turns dropout on; None is evaluation.
        """
