"""What the verbs take. Paths are resolved here, where they come in; names of what comes with the package are found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from jaxgpt import shipped
from jaxgpt.disk import read_json, resolve, typed
from jaxgpt.spec import ConfigError


def before_jax() -> None:
    """Before jax starts: bad XLA_FLAGS would abort the process."""
    from jaxgpt.parallel.backend import check_flags

    check_flags()


def config_file(word: str) -> Path:
    """A run's YAML file, by path or name."""
    return shipped.find(word, "config")


def experiment_or_sweep(word: str) -> Path:
    """An experiment's Python file, by path or name, or the folder of a sweep."""
    return shipped.find(word, "experiment", folders=True)


def figures_file(word: str) -> Path:
    """Where a verb's figures go: a new file, or one of figures that a verb wrote before. Raises ConfigError, before
    anything is computed, for a file of anything else."""
    path = resolve(word)
    if path.is_file() and not _holds_figures(path):
        raise ConfigError(
            f"--json: '{typed(path)}' is there already, holds no figures and is not written over; choose another name"
        )
    return path


def figures_or_output(word: str) -> Path:
    """A `figures_file`; `-` is standard output."""
    return Path(word) if word == "-" else figures_file(word)


def predictions_file(word: str) -> Path:
    """Where a task's predictions go: a new .jsonl, or one of predictions that `eval` wrote before. Raises ConfigError,
    before anything is computed, for anything else."""
    path = resolve(word)
    if path.suffix != ".jsonl":
        raise ConfigError(f"--predictions: '{typed(path)}' does not end in .jsonl; predictions are an object a line")
    if path.is_file() and not _holds_predictions(path):
        raise ConfigError(
            f"--predictions: '{typed(path)}' is there already, holds no predictions and is not written over; choose "
            "another name"
        )
    return path


def _holds_predictions(path: Path) -> bool:
    """Whether a file's first line is what `eval` writes of a row."""
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(1 << 24))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and any(
        {"row", *names} <= first.keys() for names in (("texts", "predicted"), ("prompt", "shots"), ("document", "nats"))
    )


def _holds_figures(path: Path) -> bool:
    """Whether a file holds numbers by name, as `eval` writes, or what `compile` does: a step, or the meshes tried."""
    try:
        figures = read_json(path)
    except ConfigError:
        return False
    if not isinstance(figures, dict) or not figures:
        return False
    return not figures.keys().isdisjoint({"kernels", "tried"}) or all(
        value is None or type(value) in (int, float) for value in figures.values()
    )


def names_of(kind: shipped.Kind) -> Callable[[str], list[str]]:
    """What a shell offers while a word is typed; where nothing fits it offers files."""
    return lambda incomplete: [name for name in shipped.names(kind) if name.startswith(incomplete)]


Config = Annotated[
    Path,
    typer.Argument(
        help="a run's YAML file, or the name of one in `jaxgpt list configs`",
        metavar="CONFIG",
        parser=config_file,
        autocompletion=names_of("config"),
    ),
]
Target = Annotated[
    Path,
    typer.Argument(
        help="a question's Python file, its name in `jaxgpt list experiments`, or a sweep's folder",
        metavar="EXPERIMENT",
        parser=experiment_or_sweep,
        autocompletion=names_of("experiment"),
    ),
]
Overrides = Annotated[list[str] | None, typer.Argument(help="fields to change", metavar="a.b=c")]
Source = Annotated[
    Path, typer.Argument(help="a run's directory, or what else `convert` reads", metavar="RUN", parser=resolve)
]
Seeds = Annotated[int | None, typer.Option(help="paired seeds for each arm", metavar="N")]
Out = Annotated[Path | None, typer.Option(help="directory of the results", metavar="DIR", parser=resolve)]
Folder = Annotated[Path, typer.Argument(help="a sweep's folder", metavar="DIR", parser=resolve)]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="where the figures go; - is standard output", metavar="PATH", parser=figures_or_output),
]
