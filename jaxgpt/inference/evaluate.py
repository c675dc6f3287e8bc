"""`jaxgpt eval` of a task: a model's answers about a file of texts with labels, as figures and as predictions."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxgpt.disk import atomic, strict
from jaxgpt.evals.labelled import measure, read_labelled
from jaxgpt.inference.answers import task_of
from jaxgpt.inference.load import load
from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.locate import locate


def evaluate(
    source: Path, name: str, path: str, batch_size: int = 32, predictions: Path | None = None
) -> dict[str, float]:
    """The figures `NAME/...` of the model at `source` on the file `path`, here or in JAXGPT_DATA; with `predictions`
    a line of JSON for each row too, whole or not at all.

    Raises ConfigError for a model that answers in another form, and for whatever is wrong with the file.
    """
    file = locate(path, "--path")
    model = load(source)
    run = model.run
    task = task_of(None if run is None else run.objective, model.model, name)
    labels = getattr(model.model.text_head, "labels", None)
    rows = read_labelled(name, file, None if run is None else run.data)
    texts = model.texts_a_row
    if name != "choice" and texts not in (None, len(rows[0].texts)):
        raise ConfigError(
            f"{rows[0].where}: {len(rows[0].texts)} texts a row, and the model was trained on {texts}; name the "
            "columns as in training"
        )
    figures, predicted = measure(
        name, task, labels, rows, lambda rows: model.answers(name, rows, batch_size, quiet=False)
    )
    if predictions is not None:
        write_lines(predictions, predicted)
    return figures


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes an object a line, whole or not at all."""
    with atomic(path) as file:
        for row in rows:
            file.write(json.dumps(strict(row)[0], ensure_ascii=False).encode("utf-8", "replace") + b"\n")
