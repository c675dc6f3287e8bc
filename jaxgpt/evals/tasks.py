"""`jaxgpt eval`, from a task's name to a table."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from rich.table import Table

from jaxgpt.disk import strict, write_json_atomic
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


def open_task(name: str, path: str) -> Callable[[Encode], Figures]:
    """A task whose data are read and found well, before any model is. `path` may lie in JAXGPT_DATA.

    Raises ConfigError for a task that is not known, and for whatever is wrong with the data.
    """
    if name not in TASKS:
        raise ConfigError(f"task: unknown '{name}'{did_you_mean(name, TASKS)}")
    return TASKS[name](locate(path, "--path"))


def show(figures: Figures, json_path: Path | None) -> None:
    """A table on standard output; with a path the figures as JSON there too, or, for `-`, there instead."""
    if str(json_path) == "-":
        print(json.dumps(strict(figures)[0]))
        return
    table = Table("figure", "value", box=None)
    table.columns[1].justify = "right"
    for name, value in figures.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:#.4g}")
    standard_output(120).print(table)
    if json_path is not None:
        write_json_atomic(json_path, figures)
