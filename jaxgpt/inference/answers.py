"""What a model's text head says of texts. N rows, C outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxgpt.inference.by_length import Done, by_length
from jaxgpt.objectives.task import Task
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text import Codec
from jaxgpt.text.batches.encoded_rows import encode_rows
from jaxgpt.text.corpora.columns import TextRow


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


def answers(
    module: nn.Module,
    params: Any,
    codec: Codec,
    task: Task,
    rows: Sequence[TextRow],
    limit: int,
    batch_size: int = 32,
    quiet: bool = False,
    done: Done | None = None,
) -> np.ndarray:
    """float32 (N, C): the task's outputs for each row, cut to `limit` tokens as in training; of candidates that a row
    does not have about -1e30; `done` is called with each batch. Raises ConfigError as `encode_rows` does."""
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

    outputs = by_length(lengths.tolist(), batch_size, limit, compute, "judge", quiet, done)
    assert outputs is not None
    return outputs


@partial(jax.jit, static_argnums=(0, 1))
def _outputs(module: nn.Module, task: Task, params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    return task.outputs(module, params, batch)
