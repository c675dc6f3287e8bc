"""What a model's text head says of texts. N rows, C outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxgpt.inference.by_length import by_length
from jaxgpt.models import Model
from jaxgpt.objectives import Choice, Classify, Objective, Regress
from jaxgpt.objectives.task import Task
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text import Codec
from jaxgpt.text.batches.encoded_rows import encode_rows
from jaxgpt.text.corpora.columns import TextRow

FORMS = {
    "classify": ("joined", "class"),
    "similarity": ("both_orders", "number"),
    "regress": ("joined", "number"),
    "choice": ("candidates", "index"),
}
"""What each task reads, and what it answers, as objectives say it (`arrangement`, `target`)."""
METHODS = {"classify": "m.classify", "similarity": "m.similarity", "regress": "m.rate", "choice": "m.choose"}


@dataclass(frozen=True)
class Classified:
    """A text's label."""

    label: str
    """The most probable one."""
    probabilities: dict[str, float]
    """Of every label, by its name."""


@dataclass(frozen=True)
class Chosen:
    """A context's candidate."""

    index: int
    """The place of the most probable one, from 0."""
    probabilities: tuple[float, ...]
    """Of every candidate."""


def form_of(task: Objective) -> str | None:
    """Which of FORMS an objective has; None: another."""
    return next((name for name, form in FORMS.items() if form == (task.arrangement, task.target)), None)


def task_of(objective: Objective | None, model: Model, wanted: str) -> Task:
    """The objective by which a model answers in the form `wanted`, one of FORMS: the one that trained it, else the one
    that its head can have.

    Raises ConfigError for a model without a head that answers, and one that answers in another form.
    """
    head = model.text_head
    if head is None or not head.judges:
        raise ConfigError(
            "model.text_head: these weights have no head for tasks; train one with text_head={kind: task}, or give a "
            "folder of a class for tasks, such as ...ForSequenceClassification"
        )
    if not isinstance(objective, Task):  # other libraries' weights, or a head that another objective left alone
        labels, scale = getattr(head, "labels", None), getattr(head, "scale", None)
        objective = Classify() if labels else Regress() if scale else Choice()
    form = form_of(objective)
    if form != wanted:
        use = f"; use {METHODS[form]}, and in `jaxgpt eval` task {form}" if form else ""
        raise ConfigError(f"{wanted}: these weights answer by objective {objective.kind}{use}")
    return objective


def answers(
    module: nn.Module,
    params: Any,
    codec: Codec,
    task: Task,
    rows: Sequence[TextRow],
    limit: int,
    batch_size: int = 32,
    quiet: bool = False,
) -> np.ndarray:
    """float32 (N, C): the task's outputs for each row, cut to `limit` tokens as in training; of candidates that a row
    does not have about -1e30. Raises ConfigError as `encode_rows` does."""
    if not rows:
        return np.zeros((0, module.spec.text_head.size(module.spec.width)), np.float32)
    columns = {"joined": 1, "both_orders": 2}.get(task.arrangement) or max(len(row.texts) - 1 for row in rows)
    encoded = encode_rows(codec, rows, task.arrangement, columns, limit)
    lengths = np.diff(encoded.starts).reshape(-1, columns).max(1)
    if not lengths.all():
        row = rows[int(np.flatnonzero(lengths == 0)[0])]
        raise ConfigError(f"{row.where}: {quote(row.texts)} has no token; leave it out")

    def compute(index: np.ndarray, height: int, width: int) -> jax.Array:
        batch = encoded.rows(index, width)
        more = height - len(index)
        filled = {name: np.pad(array, ((0, more), (0, 0))) for name, array in batch.items()}
        return _outputs(module, task, params, filled)

    outputs = by_length(lengths.tolist(), batch_size, limit, compute, "judge", quiet)
    assert outputs is not None
    return outputs


@partial(jax.jit, static_argnums=(0, 1))
def _outputs(module: nn.Module, task: Task, params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    return task.outputs(module, params, batch)
