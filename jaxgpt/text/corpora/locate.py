"""Where a name in a config is looked up: the folder JAXGPT_DATA, then the path as given."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from jaxgpt.disk import resolve
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import did_you_mean, quote


def locate(name: str, field: str) -> Path:
    """The existing file or folder that `name` means, as `jaxgpt.disk.resolve` gives it; an absolute path, or one from
    `~`, overrides JAXGPT_DATA. Raises ConfigError that says what was tried."""
    root = os.environ.get("JAXGPT_DATA")
    try:
        beside = resolve(root, "JAXGPT_DATA") if root else None
        tried = [resolve(name, field)]
        if beside is not None:
            tried.insert(0, resolve(beside / Path(name).expanduser(), field))
    except JaxgptError as error:
        raise ConfigError(error.problems) from None
    for path in tried:
        if path.exists():
            return path
    near = did_you_mean(name, _names(beside)) if beside is not None else ""
    places = " and ".join(dict.fromkeys(str(path) for path in tried))
    raise ConfigError(
        f"{field}: {quote(name, 200)} is not there: tried {places}; give a path, or set JAXGPT_DATA to its folder{near}"
    )


def _names(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        yield from (entry.name for entry in folder.iterdir())
