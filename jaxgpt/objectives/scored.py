"""What the objectives with a number for an answer share. B rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.objectives.objective import Batch, Figures
from jaxgpt.objectives.task import RowLosses, Task
from jaxgpt.ops.metrics.correlation import pearson, spearman

CORRELATIONS = {"pearson": pearson, "spearman": spearman}


class Scored(Task):
    """The squared error of a score, in standard deviations of the training data's."""

    target = "number"
    metric = "spearman"

    def row_losses(self, outputs_BC: jax.Array, batch: Batch, head: Any) -> RowLosses:
        """Squared differences from the score over the variance of scores, which the head knows."""
        _, deviation = head.scale or (0.0, 1.0)
        loss_B = jnp.square((outputs_BC[:, 0] - batch["score"]) / deviation)
        return RowLosses(loss_B, loss_B, jnp.ones_like(loss_B))

    def measures(self, outputs: int) -> tuple[str, ...]:
        """The two correlations."""
        return tuple(CORRELATIONS)

    def figures(self, outputs_NC: np.ndarray, target_N: np.ndarray) -> Figures:
        """Pearson's and Spearman's correlation with the scores."""
        return {name: correlation(outputs_NC[:, 0], target_N) for name, correlation in CORRELATIONS.items()}
