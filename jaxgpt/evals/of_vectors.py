"""Tasks about a model's vectors, and about its head's answers, by name."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from jaxgpt.evals.labelled import KNOWN
from jaxgpt.evals.retrieval import read_retrieval, retrieval
from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.evals.vectors import Encode
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


def open_task(name: str, path: str) -> Callable[[Encode], Figures]:
    """A task whose data are read and found well, before any model is. `path` may lie in JAXGPT_DATA.

    Raises ConfigError for whatever is wrong with the data.
    """
    return TASKS[name](locate(path, "--path"))
