"""`jaxgpt eval`, from a task's name to a table."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from rich.table import Table

from jaxgpt.disk import strict, write_json_atomic
from jaxgpt.evals.labelled import KNOWN
from jaxgpt.evals.retrieval import read_retrieval, retrieval
from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.evals.vectors import Encode
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean
from jaxgpt.terminal import standard_output
from jaxgpt.text.corpora.locate import locate

Figures = dict[str, float]
Task = Callable[[Path], Callable[[Encode], Figures]]
"""Reads what lies at a path, and gives what turns an encoder into figures."""
TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "retrieval": lambda path: partial(retrieval, data=read_retrieval(path)),
        "sts": lambda path: partial(sts, subsets=read_subsets(path)),
    }
)
LABELLED = tuple(sorted(KNOWN))
"""Tasks that a text head answers, of texts with labels; see `jaxgpt.evals.labelled`."""


def check_task(name: str, pooling: str | None, picture: Path | None, predictions: Path | None) -> None:
    """Raises ConfigError for a task that is not known, and for an option that is not that task's."""
    if name not in (*TASKS, *LABELLED):
        raise ConfigError(f"task: unknown '{name}'{did_you_mean(name, sorted((*TASKS, *LABELLED)))}")
    if name in TASKS and predictions is not None:
        raise ConfigError(f"--predictions: task '{name}' answers nothing; known: {', '.join(LABELLED)}")
    if name in LABELLED and pooling is not None:
        raise ConfigError(f"--pooling: task '{name}' reads what the model's head says; leave it out")
    if name in LABELLED and picture is not None:
        raise ConfigError(f"--picture: task '{name}' has no heat map; leave it out")


def open_task(name: str, path: str) -> Callable[[Encode], Figures]:
    """A task whose data are read and found well, before any model is. `path` may lie in JAXGPT_DATA.

    Raises ConfigError for whatever is wrong with the data.
    """
    return TASKS[name](locate(path, "--path"))


def show(figures: Figures, json_path: Path | None) -> None:
    """A table on standard output; with a path the figures as JSON there too, or, for `-`, there instead."""
    if str(json_path) == "-":
        print(json.dumps(strict(figures)[0]))
        return
    table = Table("figure", "value", box=None)
    table.columns[1].justify = "right"
    for name, value in figures.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:#.4g}" if value == value else "n/a")
    standard_output(120).print(table)
    if json_path is not None:
        write_json_atomic(json_path, figures)
