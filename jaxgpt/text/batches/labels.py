"""Labels as they are written to what a batch has of them: numbers of classes, scores, places of candidates.

Errors are one line each and name the row.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean, quote, short
from jaxgpt.text.batches.arrangement import Target
from jaxgpt.text.corpora.columns import TextRow

LARGEST = float(np.finfo(np.float32).max)


class Targets(NamedTuple):
    """The labels of some rows."""

    train: list[np.ndarray]
    """For each source, int32 or float32, a row each."""
    val: list[np.ndarray]
    labels: tuple[str, ...] | None = None
    scale: tuple[float, float] | None = None


def targets(kind: Target, train: Sequence[Sequence[TextRow]], val: Sequence[Sequence[TextRow]]) -> Targets:
    """What batches have of the rows' labels. Names of classes and the scale of scores are those of the training rows.

    Raises ConfigError for a label that is no class of theirs, no finite number, or no place of one of its row's
    candidates, and where all training rows have one and the same.
    """
    if kind == "class":
        names = class_names([row.label for part in train for row in part])
        if len(names) < 2:
            raise ConfigError(
                f"data.label: every training row has the label {quote(names[0], 40)}; expected two classes or more"
            )
        return Targets(
            [class_numbers(part, names) for part in train], [class_numbers(part, names) for part in val], names
        )
    if kind == "index":
        return Targets([places(part) for part in train], [places(part) for part in val])
    numbers = Targets([scores(part) for part in train], [scores(part) for part in val])
    everything = np.concatenate(numbers.train).astype(np.float64)
    mean, deviation = float(everything.mean()), float(everything.std())
    if not deviation:
        raise ConfigError(f"data.label: every training row has the score {mean:g}; expected scores that differ")
    return numbers._replace(scale=(mean, deviation))


def class_names(written: Iterable[str]) -> tuple[str, ...]:
    """The different names of classes: numbers, where all are, in their order, else sorted."""
    names = {*written}
    try:
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    except ValueError:
        return tuple(sorted(names))


def class_numbers(rows: Sequence[TextRow], names: Sequence[str]) -> np.ndarray:
    """int32 (N,): the place of each row's label among the names of classes. Raises ConfigError for an unknown one."""
    number = {name: i for i, name in enumerate(names)}
    for where, _, label in rows:
        if label not in number:
            near = did_you_mean(label, short(names))
            raise ConfigError(f"{where}: label {quote(label, 40)} is none of the training rows'{near}")
    return np.array([number[row.label] for row in rows], np.int32)


def scores(rows: Sequence[TextRow]) -> np.ndarray:
    """float32 (N,): each row's label as a number. Raises ConfigError for one that is no finite number."""
    values = []
    for where, _, label in rows:
        try:
            value = float(label)
        except ValueError:
            value = math.nan
        if not abs(value) <= LARGEST:  # nor is not-a-number
            raise ConfigError(f"{where}: label {quote(label, 40)} is no number; expected a finite score")
        values.append(value)
    return np.array(values, np.float32)


def places(rows: Sequence[TextRow]) -> np.ndarray:
    """int32 (N,): each row's label as the place of one of its candidates, all its texts but the first, from 0. Raises
    ConfigError for one that is none of them."""
    for where, texts, label in rows:
        if len(texts) < 3:
            count = "1 candidate" if len(texts) == 2 else "no candidates"
            raise ConfigError(f"{where}: {count}; expected two or more to choose from")
        if label not in {str(place) for place in range(len(texts) - 1)}:
            raise ConfigError(
                f"{where}: label {quote(label, 40)} is no place of one of {len(texts) - 1} candidates; expected 0 to "
                f"{len(texts) - 2}"
            )
    return np.array([int(row.label) for row in rows], np.int32)
