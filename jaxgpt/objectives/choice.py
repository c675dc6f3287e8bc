"""Which of several candidates goes with a text. B rows, N candidates a row, D model width."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.objectives.objective import Batch, Figures
from jaxgpt.objectives.task import Judge, RowLosses, Task
from jaxgpt.ops.class_losses import class_cross_entropy
from jaxgpt.ops.metrics.accuracy import accuracy

NEVER = -1e30
"""The logit of a candidate that a row does not have: no row is without finite ones."""


class Choice(Task):
    """Cross-entropy of the right candidate, in nats, by a softmax over one number for each."""

    citation = "Radford et al. 2018, section 3.3"
    arrangement = "candidates"
    target = "index"
    metric = "accuracy"

    def answer(self, judge: Judge, pooled_BND: jax.Array, real_BN: jax.Array) -> jax.Array:
        """Logits (B, N)."""
        return jnp.where(real_BN, judge(pooled_BND)[..., 0], NEVER)

    def row_losses(self, outputs_BC: jax.Array, batch: Batch, head: Any) -> RowLosses:
        """Cross-entropy over the candidates that a row has."""
        loss_B, _ = class_cross_entropy(outputs_BC, batch["label"])
        return RowLosses(loss_B, loss_B, jnp.ones_like(loss_B))

    def measures(self, outputs: int) -> tuple[str, ...]:
        """Accuracy alone: candidates of different rows are no classes."""
        return ("accuracy",)

    def figures(self, outputs_NC: np.ndarray, target_N: np.ndarray) -> Figures:
        """The share of rows whose right candidate has the largest logit."""
        return {"accuracy": accuracy(outputs_NC.argmax(-1), target_N)}
