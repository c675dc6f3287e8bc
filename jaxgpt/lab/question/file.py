"""Experiment files: Python that holds one Experiment, and whatever mechanisms it asks about."""

import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from jaxgpt.disk import resolve
from jaxgpt.lab.question.code import PREFIX
from jaxgpt.lab.question.experiment import Experiment
from jaxgpt.spec import ConfigError, Spec, digest
from jaxgpt.spec.errors import did_you_mean
from jaxgpt.spec.explain import explain


def load(path: str | Path) -> Experiment:
    """The one Experiment that the Python file at `path` defines.

    Importing the file registers the seam members it declares. Raises ConfigError with one line when the file is
    missing, does not run, or holds no Experiment or several.
    """
    path = resolve(path)
    module = import_file(path)
    experiments = {id(value): (name, value) for name, value in vars(module).items() if isinstance(value, Experiment)}
    if len(experiments) != 1:
        names = f" ({', '.join(name for name, _ in experiments.values())})" if experiments else ""
        raise ConfigError(
            f"{path}: expected one Experiment at the top level, found {len(experiments) or 'none'}{names}"
        )
    return next(iter(experiments.values()))[1]


def import_file(path: Path) -> ModuleType:
    """Runs the file, which declares its mechanisms. Raises ConfigError with one line, as `load` does."""
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
        raise ConfigError([f"{path}: {problem}" for problem in explain(declared, None, error).problems]) from error
    except Exception as error:
        raise ConfigError(f"{path}{_line_of(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _line_of(error: Exception, path: Path) -> str:
    """`:12`, the last line of the experiment file that the error passed through."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
    return f":{lines[-1]}" if lines else ""
