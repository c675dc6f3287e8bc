"""Which of several labels a text has, or a pair of texts. B rows, N sequences a row, D model width, C labels."""

from typing import Annotated, Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from jaxgpt.objectives.objective import Batch, Figures
from jaxgpt.objectives.task import Judge, RowLosses, Task
from jaxgpt.ops.class_losses import class_cross_entropy
from jaxgpt.ops.metrics.accuracy import accuracy
from jaxgpt.ops.metrics.average_precision import average_precision
from jaxgpt.ops.metrics.calibration import calibration_error, probabilities
from jaxgpt.ops.metrics.f1 import f1, macro_f1
from jaxgpt.ops.metrics.matthews import matthews
from jaxgpt.ops.metrics.roc_auc import roc_auc
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import listed
from jaxgpt.text import TrainingData


class Classify(Task):
    """Cross-entropy of a row's label, in nats: of one text, or of two joined in one row, as entailment is judged."""

    citation = "Radford et al. 2018, section 3.2; Devlin et al. 2019, section 4.1; Lin et al. 2017 (focal loss)"
    arrangement = "joined"
    target = "class"
    metric = "accuracy"
    falling = ("loss", "calibration_error")
    inputs = switches = (*Task.inputs, "label_smoothing", "focal_gamma")
    class_weights: Literal["balanced"] | Annotated[tuple[PositiveFloat, ...], Field(max_length=2**16)] | None = None
    """How much rows of each label count, in the order of the labels: the loss is Σ weight·loss / Σ weight. `balanced`:
    as the inverse of how many rows of an epoch have the label, 1 on average over the rows (as scikit-learn's)."""
    label_smoothing: NonNegativeFloat = Field(default=0.0, lt=1)
    """Probability spread evenly over the labels in training; the reported loss is never smoothed."""
    focal_gamma: NonNegativeFloat = 0.0
    """γ of the focal loss: in training a row's cross-entropy counts (1 - p(label))^γ times. The sum is divided by the
    number of rows, or their class weights, as without; where a detector has one output for each class, it is by the
    number of positives. The reported loss is plain."""

    def settle(self, data: TrainingData) -> Self:
        """With a class weight for each label. Raises ConfigError for weights of more labels, or fewer."""
        weights, labels, counts = self.class_weights, data.labels or (), data.label_counts or ()
        if weights is None:
            return self
        if weights == "balanced":
            return self.evolve(class_weights=tuple(sum(counts) / (len(counts) * count) for count in counts))
        if len(weights) != len(labels):
            names = listed(labels)
            raise ConfigError(f"objective.class_weights: {len(weights)} weights for {len(labels)} labels: {names}")
        return self

    def answer(self, judge: Judge, pooled_BND: jax.Array, real_BN: jax.Array) -> jax.Array:
        """Logits (B, C) of the row's one sequence."""
        return judge(pooled_BND[:, 0])

    def row_losses(self, outputs_BC: jax.Array, batch: Batch, head: Any) -> RowLosses:
        """Cross-entropy, in training smoothed and focal, and each row's class weight."""
        label_B = batch["label"]
        loss_B, nll_B = class_cross_entropy(outputs_BC, label_B, self.label_smoothing, self.focal_gamma)
        if not isinstance(self.class_weights, tuple):
            return RowLosses(loss_B, nll_B, jnp.ones_like(nll_B))
        return RowLosses(loss_B, nll_B, jnp.asarray(self.class_weights, jnp.float32)[label_B])

    def measures(self, outputs: int) -> tuple[str, ...]:
        """What `figures` has; of two labels the second is the positive one, which has curves of its own."""
        binary = ("f1", "roc_auc", "average_precision") if outputs == 2 else ()
        return ("accuracy", "f1_macro", "matthews", "calibration_error", *binary)

    def figures(self, outputs_NC: np.ndarray, target_N: np.ndarray) -> Figures:
        """Accuracy, F1, Matthews' correlation and calibration error; of two labels F1, ROC-AUC and average precision of
        the second."""
        chosen_N = outputs_NC.argmax(-1)
        p_NC = probabilities(outputs_NC)
        figures = {
            "accuracy": accuracy(chosen_N, target_N),
            "f1_macro": macro_f1(chosen_N, target_N),
            "matthews": matthews(chosen_N, target_N),
            "calibration_error": calibration_error(p_NC, target_N),
        }
        if outputs_NC.shape[1] > 2:
            return figures
        score_N = outputs_NC[:, 1] - outputs_NC[:, 0]
        return figures | {
            "f1": f1(chosen_N == 1, target_N == 1),
            "roc_auc": roc_auc(score_N, target_N == 1),
            "average_precision": average_precision(score_N, target_N == 1),
        }
