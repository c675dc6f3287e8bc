"""What the verbs take. Paths are resolved here, where they come in; names of what comes with the package are found."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from jaxgpt import shipped
from jaxgpt.disk import resolve


def config_file(word: str) -> Path:
    """A run's YAML file, by path or name."""
    return shipped.find(word, "config")


def experiment_or_sweep(word: str) -> Path:
    """An experiment's Python file, by path or name, or the folder of a sweep."""
    return shipped.find(word, "experiment", folders=True)


def place_to_write(word: str) -> Path:
    """A place to write to; `-` is standard output."""
    return Path(word) if word == "-" else resolve(word)


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
    typer.Option("--json", help="where the figures go; - is standard output", metavar="PATH", parser=place_to_write),
]
