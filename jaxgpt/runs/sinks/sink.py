"""The seam: what a tracker is told about a run, and what takes the run's rows."""

import importlib
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from jaxgpt.disk import write_json_atomic
from jaxgpt.spec import ConfigError, Seam

_CELL = re.compile(r"s\d+-[0-9a-f]+")
"""The last folder of a sweep's run: SWEEP/ARM/s03-1f0c9a2b4d."""


@dataclass(frozen=True)
class Facts:
    """What a tracker shows beside a run's metrics."""

    name: str
    """`rotary/s03-1f0c9a2b4d` in a sweep, else the name of the run's directory."""
    folder: Path
    """The sweep's folder, else the run's own: where a store that several runs share belongs."""
    config: Mapping[str, Any]
    """The resolved run as plain data."""
    group: str | None = None
    """`position/rotary`: the sweep and the arm, whose runs differ by their seeds."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """`model` and `seed`; in a sweep `experiment` and `arm` too."""

    @classmethod
    def of(cls, config: Mapping[str, Any], directory: Path) -> Self:
        """The facts of the run that is kept in `directory`; where the directory lies in a sweep, its path tells."""
        directory = directory.resolve()
        tags = {"model": str(config["model"]["kind"]), "seed": str(config["seed"])}
        arm, sweep = directory.parent, directory.parent.parent
        if not _CELL.fullmatch(directory.name):
            return cls(directory.name, directory, config, tags=tags)
        tags |= {"experiment": sweep.name, "arm": arm.name}
        return cls(f"{arm.name}/{directory.name}", sweep, config, f"{sweep.name}/{arm.name}", tags)


class Writer(NamedTuple):
    """A run's open tracker: a function that takes a row, and one that ends it."""

    write: Callable[[Mapping[str, Any]], None]
    """Takes a row of metrics with its `step`."""
    close: Callable[[str], None]
    """Takes how the run has ended: finished, diverged, stopped or failed. Called once, last."""
    last: int | None = None
    """The step of the last row that the tracker has, -1 where it has none. None: every row that was ever written."""


class Sink(Seam, seam="sink"):
    """Base of all metrics sinks. Several runs may be open in one process, so no member relies on a current run."""

    package: ClassVar[str] = ""
    """The module that the tracker comes in; none for a sink that needs nothing."""

    @abstractmethod
    def open(self, directory: Path, facts: Facts) -> Writer:
        """Opens the tracker for the run in `directory`. There a later call goes on with the same run of the tracker."""

    def check(self) -> None:
        """Raises ConfigError when the tracker is not installed. Called before anything is computed."""
        try:
            if self.package:
                importlib.import_module(self.package)
        except ImportError:
            raise ConfigError(f"exec.sinks: {self.package} is not installed; pip install 'jaxgpt[track]'") from None


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row: its numbers, without `step` and what was not measured."""
    return {name: float(value) for name, value in row.items() if name != "step" and isinstance(value, int | float)}


def run_id(path: Path, store: str, new: Callable[[], str]) -> tuple[str, bool]:
    """The run's id in a tracker's `store`, and whether an earlier start made it. `path` keeps the id of each store.

    A file that cannot be read counts as none: the tracker then begins a second run.
    """
    try:
        ids = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        ids = {}
    if store in ids:
        return ids[store], True
    ids[store] = new()
    write_json_atomic(path, ids)
    return ids[store], False
