"""Files of texts with labels: how well a model answers about them. N rows, C outputs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.evals.measured import Measured, of_rows
from jaxgpt.objectives import Objective
from jaxgpt.ops.metrics.calibration import probabilities
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import listed
from jaxgpt.text import Data
from jaxgpt.text.batches.labels import class_numbers, places, scores
from jaxgpt.text.corpora.columns import TextRow, first_fields, text_rows

Answers = Callable[[Sequence[TextRow]], np.ndarray]
"""N rows -> float32 (N, C): a model's outputs for each."""
PAIR = (("sentence1", "sentence2"), ("text1", "text2"), ("premise", "hypothesis"), ("question", "sentence"))
TEXT = (("sentence",), ("text",))
CANDIDATES = (("query", "choices"), ("context", "choices"), ("question", "choices"))
KNOWN: Mapping[str, tuple[Sequence[tuple[str, ...]], Sequence[str]]] = MappingProxyType(
    {
        "classify": ((*PAIR, *TEXT), ("label", "gold")),
        "regress": ((*PAIR, *TEXT), ("score", "label", "gold")),
        "similarity": (PAIR, ("score", "label", "gold")),
        "choice": (CANDIDATES, ("gold", "label", "answer")),
    }
)
"""Names under which each task's texts and labels are found, the first that fits."""
UNNAMED = "LABEL_"
"""What other libraries call a label without a name, before its number."""


class Columns(NamedTuple):
    """Where a file's texts and labels are."""

    texts: tuple[str, ...]
    label: str


def read_labelled(task: str, path: Path, data: Data | None) -> list[TextRow]:
    """The rows of a file for `task`, one of KNOWN: by the columns that a model was trained on, where the file has
    them; else by known names; else, in a table without header, the texts first and the label last.

    Raises ConfigError as `text_rows` does, and for named fields of which none are known.
    """
    columns = find_columns(task, path, data)
    return list(text_rows(path, columns.texts, None, columns.label, spread=task == "choice"))


def find_columns(task: str, path: Path, data: Data | None) -> Columns:
    """Where the texts and the labels of a file are; see `read_labelled`."""
    given, named = first_fields(path)
    header = set(given)
    own = _trained_on(data)
    if own is not None and header.issuperset({*own.texts, own.label}):
        return own
    for texts, label in product(*KNOWN[task]):
        if header.issuperset({*texts, label}):
            return Columns(texts, label)
    if named:
        wanted = " or ".join(", ".join(texts) for texts in KNOWN[task][0])
        raise ConfigError(f"{path}: has fields {listed(given)}; expected {wanted}, with {' or '.join(KNOWN[task][1])}")
    if own is not None and all(name.isdigit() and int(name) <= len(given) for name in (*own.texts, own.label)):
        return own
    least = {"similarity": 3, "choice": 4}.get(task, 2)
    if len(given) < least or (task in ("classify", "regress") and len(given) > 3):
        raise ConfigError(
            f"{path}:1: {len(given)} columns without a known header; expected {_expected(task)}, or such names as "
            f"{', '.join(KNOWN[task][0][0])}, {KNOWN[task][1][0]}"
        )
    return Columns(tuple(str(place) for place in range(1, len(given))), str(len(given)))


def _trained_on(data: Data | None) -> Columns | None:
    if data is None or data.label is None or data.columns is None:
        return None
    texts = range(1, data.columns + 1) if isinstance(data.columns, int) else data.columns
    return Columns(tuple(map(str, texts)), data.label)


def _expected(task: str) -> str:
    return {
        "similarity": "two texts and a score",
        "choice": "a text, candidates and the place of the right one, from 0",
    }.get(task, f"a text or two, and a {'score' if task == 'regress' else 'label'}")


def measure(
    name: str, task: Objective, labels: Sequence[str] | None, rows: Sequence[TextRow], answers: Answers
) -> Measured:
    """The task's figures over the rows as `NAME/...`, NaN where the rows cannot tell, and what is predicted of each
    row: its texts, its label, `predicted`, and the probabilities of labels or candidates.

    `labels`: the model's, by which rows may be labelled or, where none of these is there, by their numbers. Raises
    ConfigError for a label that the model does not have, no number, or no place of a candidate.
    """
    target_N = _targets(task, labels, rows)
    outputs_NC = answers(rows)
    names = list(task.figures(outputs_NC, target_N))

    def of(index: np.ndarray) -> list[float]:
        figures = task.figures(outputs_NC[index], target_N[index])
        return [float(figures[each]) for each in names]

    right = {} if task.target == "number" else {f"{name}/accuracy": outputs_NC.argmax(-1) == target_N}
    predicted = [
        {"texts": list(row.texts), **_predicted(task, labels, target, outputs_C, len(row.texts) - 1)}
        for row, target, outputs_C in zip(rows, target_N, outputs_NC, strict=True)
    ]
    figures = tuple(f"{name}/{figure}" for figure in names)
    return Measured(figures, len(rows), of_rows(len(rows), of), right, {f"{name}/rows": len(rows)}, predicted)


def _targets(task: Objective, labels: Sequence[str] | None, rows: Sequence[TextRow]) -> np.ndarray:
    if task.target == "number":
        return scores(rows)
    if task.target == "index":
        return places(rows)
    names = list(labels or ())
    if not {row.label for row in rows} & {*names}:
        numbers = [str(index) for index in range(len(names))]
        unnamed = all(name.startswith(UNNAMED) for name in names)
        if unnamed or all(row.label in numbers for row in rows):
            names = numbers
    return class_numbers(rows, names)


def _predicted(
    task: Objective, labels: Sequence[str] | None, target: Any, outputs_C: np.ndarray, candidates: int
) -> dict[str, Any]:
    if task.target == "number":
        return {"label": float(target), "predicted": float(outputs_C[0])}
    if task.target == "index":
        p_C = probabilities(outputs_C[None, :candidates])[0].tolist()
        return {"label": int(target), "predicted": int(np.argmax(p_C)), "probabilities": p_C}
    p_C, names = probabilities(outputs_C[None])[0].tolist(), list(labels or ())
    shares = dict(zip(names, p_C, strict=True))
    return {"label": names[int(target)], "predicted": names[int(np.argmax(p_C))], "probabilities": shares}
