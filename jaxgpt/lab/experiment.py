"""An Experiment: a question, a base run, and the arms that differ from it in named fields."""

import importlib.util
import re
import sys
import traceback
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from jaxgpt.lab.source import PREFIX
from jaxgpt.spec import ConfigError, Spec, canonical, digest
from jaxgpt.spec.errors import did_you_mean
from jaxgpt.spec.yamlio import explain

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class Experiment(Spec):
    """A question that a table with confidence intervals answers."""

    question: str = Field(min_length=1)
    """In words, as the report's title."""
    base: str | dict[str, Any]
    """The run that every arm starts from: a YAML file (looked up beside the experiment file, in its parent folders, and
    in the working directory) or a mapping of fields."""
    arms: dict[str, dict[str, Any]] = Field(min_length=2)
    """What each arm changes: its name to dotted overrides. An arm without overrides is the base itself."""
    baseline: str
    """The arm that the others are compared with."""
    seeds: int = Field(default=8, ge=1)
    """Runs of each arm. Seed i is the base's seed + i in every arm, so that runs pair. Claims need 6 or more."""
    metric: str = "val/loss"
    """The figure of result.json to compare."""
    better: Literal["lower", "higher"] = "lower"
    """Which direction of the metric is an improvement."""

    def __hash__(self) -> int:
        return hash(canonical(self))

    @field_validator("arms", mode="before")
    @classmethod
    def _plain(cls, arms: Any) -> Any:
        """Overrides may hold specs (`{"model.position": Rotary(theta=1e5)}`); they are stored as plain data."""
        if not isinstance(arms, dict):
            return arms
        return {name: _dump(held) for name, held in arms.items()}

    @field_validator("arms")
    @classmethod
    def _named(cls, arms: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, overrides in arms.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"arm name {name!r} becomes a folder: use letters, digits, '_', '.', '+' and '-' only")
            if "seed" in overrides:
                raise ValueError(f"arm {name!r} sets 'seed': seeds are shared by all arms; set it in the base instead")
        return arms

    @model_validator(mode="after")
    def _compared(self) -> "Experiment":
        if self.baseline not in self.arms:
            raise ValueError(f"baseline: {self.baseline!r} is not an arm{did_you_mean(self.baseline, self.arms)}")
        return self


def _dump(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.model_dump(mode="json")
    return {key: _dump(held) for key, held in value.items()} if isinstance(value, dict) else value


def load(path: str | Path) -> Experiment:
    """The one Experiment that the Python file at `path` defines.

    Importing the file registers the seam members it declares. Raises ConfigError with one line when the file is
    missing, does not run, or holds no Experiment or several.
    """
    path = Path(path)
    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else ())
        raise ConfigError(f"{path}: no such experiment file{near}")
    # The name follows from the path, so that a file loaded again redeclares its own seam members and no one else's.
    name = f"{PREFIX}{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest(str(path.resolve()), 6)}"
    module_spec = importlib.util.spec_from_file_location(name, path.resolve())
    if module_spec is None or module_spec.loader is None:
        raise ConfigError(f"{path}: an experiment is a Python file whose name ends in .py")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from error
    except ValidationError as error:
        declared = Experiment if error.title == Experiment.__name__ else Spec
        raise ConfigError([f"{path}: {problem}" for problem in explain(declared, {}, error).problems]) from error
    except Exception as error:
        raise ConfigError(f"{path}{_line_of(error, path)}: {type(error).__name__}: {error}") from error
    found = {id(held): (held_as, held) for held_as, held in vars(module).items() if isinstance(held, Experiment)}
    if len(found) != 1:
        names = f" ({', '.join(held_as for held_as, _ in found.values())})" if found else ""
        raise ConfigError(f"{path}: expected one Experiment at the top level, found {len(found) or 'none'}{names}")
    return next(iter(found.values()))[1]


def _line_of(error: Exception, path: Path) -> str:
    """`:12`, the last line of the experiment file that the error passed through."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
    return f":{lines[-1]}" if lines else ""
