"""The objective seam: a loss, and what it asks of data and vocabulary."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import numpy as np
from flax import linen as nn

from jaxgpt.models import Model
from jaxgpt.models.model import Trained, all_trained
from jaxgpt.spec import Seam, Spec
from jaxgpt.text import Arrangement, Data, RowPlan, Target, TrainingData

Batch = Mapping[str, jax.Array]
"""What `TrainingData.batch` makes, on the devices."""
Figures = Mapping[str, float]
"""Metrics by name."""


class Loss(Spec):
    """What a step minimises: one method."""

    @abstractmethod
    def loss(
        self, model: nn.Module, params: Any, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The float32 scalar to minimise, and metrics.

        Both are means over the batch's weight, which `metrics["weight"]` holds: parts of a batch add up exactly.
        `metrics["loss"]` is what is reported as train/loss and val/loss. What is added to the loss is in `aux/<name>`:
        a mean over rows, or over what `weight/<name>` counts. A key turns dropout on; None is evaluation, where arrays
        in `rows/` have what each row got.
        """


class Objective(Loss, Seam, seam="objective"):
    """A loss to train a model by on a corpus. What it asks of data and vocabulary is nothing unless it says so."""

    next_token: ClassVar[bool] = False
    """Whether targets are the tokens that follow: then no pattern may show them."""
    carries: ClassVar[bool] = False
    """Whether it hands a model's state from batch to batch: a batch with `carry`, the state after the one before, then
    gives metrics with `carry`, that after this one."""
    texts: ClassVar[bool] = False
    """Whether a row is texts, each apart, rather than a window of a corpus (`data.columns`)."""

    arrangement: ClassVar[Arrangement] = "apart"
    """How a row's texts become rows of tokens: `tokens` and `segments`, and `token_types` where they are joined; with
    `_1`, `_2` and so on for more than one."""
    target: ClassVar[Target | None] = None
    """What a row's label (`data.label`) is: then a batch has `label`, int32 (B,), of a class or of the right candidate,
    or `score`, float32 (B,), of a number; rows that fill up a validation batch have segments 0 alone."""
    metric: ClassVar[str] = "loss"
    """By which of its `measures`, or the loss, a run's checkpoints are judged."""
    falling: ClassVar[tuple[str, ...]] = ("loss",)
    """Those of which less is better."""

    @property
    def row_plan(self) -> RowPlan:
        """What it asks of its batches."""
        return RowPlan(self.words, self.arrangement, self.target)

    @property
    def whole_batch(self) -> str | None:
        """Why a part of a batch has another loss than its share of the whole's (its rows are compared, say), and what
        saves memory instead; None: it has not."""
        return None

    @property
    def words(self) -> bool | None:
        """Whether the batch's `words` number whole words (True) or tokens (False); None: it needs none."""
        return None

    def settle(self, data: TrainingData) -> Self:
        """With what the data and their vocabulary decide. Raises ConfigError where these lack what is needed."""
        return self

    def with_logits(self, tokens: int | None) -> Self | None:
        """The same loss with the logits of that many tokens at once (None: all), where how many is left to the
        machine; None where it is not, or where there are no logits."""
        return None

    def problems(self, model: Model, data: Data, rows: int) -> list[str]:
        """Why it cannot train this model on batches of `rows` rows of such data, a line each."""
        return []

    def flops_per_token(self, model: Model, data: Data, dense: bool = True, trained: Trained = all_trained) -> float:
        """What training costs by it for each token of `ObjectiveRun.row_tokens`, as `Model.flops_per_token` counts."""
        return model.flops_per_token(data.seq_len or model.room, dense, trained=trained)

    def measures(self, outputs: int) -> tuple[str, ...]:
        """The names of `figures` where the model's text head has so many outputs."""
        return ()

    def figures(self, outputs_NC: np.ndarray, target_N: np.ndarray) -> Figures:
        """Metrics of all held-out rows, from the `rows/outputs` (N, C) and `rows/target` (N,) that evaluation gives."""
        return {}
