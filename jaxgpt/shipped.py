"""The configs and experiments that come with the package, by name: `gpt2/demo`, `position`.

They lie at the top of the repository, where people read them; a wheel carries a copy inside the package.
"""

import ast
from pathlib import Path
from typing import Literal

from jaxgpt.disk import resolve, typed
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean, quote

Kind = Literal["config", "experiment"]
KINDS: tuple[Kind, ...] = ("config", "experiment")
_ENDING = {"config": ".yaml", "experiment": ".py"}
_HERE = Path(__file__).resolve().parent


def folder(kind: Kind) -> Path | None:
    """Where they lie: inside an installed package, at the top of a clone, or None where neither is there."""
    within, clone = _HERE / "_shipped" / f"{kind}s", _HERE.parent / f"{kind}s"
    if within.is_dir():
        return within
    return clone if clone.is_dir() and (_HERE.parent / "pyproject.toml").is_file() else None


def names(kind: Kind) -> dict[str, Path]:
    """The names of all that come with the package, in order, each with its file: `gpt2/demo`."""
    root, ending = folder(kind), _ENDING[kind]
    files = sorted(root.rglob(f"*{ending}")) if root is not None else []
    return {file.relative_to(root).as_posix().removesuffix(ending): file for file in files if root is not None}


def by_name(word: str, kind: Kind) -> Path | None:
    """The file of that name, with or without its ending and `configs/` before it, or None."""
    return names(kind).get(word.removeprefix(f"{kind}s/").removesuffix(_ENDING[kind]))


def find(word: str, kind: Kind, folders: bool = False) -> Path:
    """The file that `word` means: a path, where there is such a file (with `folders`, or such a folder), else what
    comes with the package under that name.

    Raises JaxgptError as `resolve` does, and ConfigError where there is neither.
    """
    path, ending = resolve(word), _ENDING[kind]
    if path.exists() and (folders or not path.is_dir()):
        return path
    if (file := by_name(word, kind)) is not None:
        return file
    if path.is_dir():
        raise ConfigError(f"{typed(path)}: is a folder; expected {'a' if kind == 'config' else 'an'} {kind} file")
    beside = [file.name for file in path.parent.glob(f"*{ending}")] if path.parent.is_dir() else []
    near = did_you_mean(word if "/" in word else path.name, [*beside, *names(kind)])
    near = near if near.startswith("; did") else f"; `jaxgpt list {kind}s` shows those that come with jaxgpt"
    raise ConfigError(f"{quote(typed(path), 200)[1:-1]}: no such {kind} file{near}")


def called(path: Path) -> str:
    """What one would type for `path` here: what lies below the current folder as it lies there, what comes with the
    package by its name."""
    for kind in KINDS:
        for name, file in names(kind).items():
            if file == path and not path.is_relative_to(Path.cwd()):
                return name
    return typed(path)


def headline(path: Path) -> str:
    """The first line of what the file says of itself."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    return next(iter(text.splitlines()), "").lstrip("# ")
