"""What is wrong with the files of a run's folder: torn, a stranger's, or no files at all."""

import os
import stat
from pathlib import Path

from jaxgpt.lab.run_files import METRICS, damage, read_mapping
from jaxgpt.lab.workers import failure
from jaxgpt.spec import ConfigError
from jaxgpt.spec.small_file import read_small

_JSON = ("status.json", "provenance.json", failure.FILE, "similarity.json")
_LOGS = (METRICS, "events.jsonl")
_REMEDY = "put back a copy, or move it away"


def troubles(folder: Path) -> list[str]:
    """A line for each file of a run that cannot be read, or is not what it was when the run ended.

    What is torn in the middle of a log or of config.yaml shows when the run is continued: it is then a failure.
    """
    changed = damage(folder)
    lines = [] if changed is None else [changed]
    for name in (*_JSON, *_LOGS, "config.yaml"):
        path = folder / name
        if os.path.lexists(path) and not (changed and changed.startswith(f"{path}:")):
            try:
                _read(path)
            except (OSError, ConfigError) as error:
                if os.path.lexists(path):  # else it was removed meanwhile
                    lines.append(
                        f"{error if isinstance(error, ConfigError) else f'{path}: {error.strerror}'}; {_REMEDY}"
                    )
    return lines


def _read(path: Path) -> None:
    if path.name in _LOGS:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ConfigError(f"{path}: no regular file")
    elif path.name not in _JSON:
        read_small(path)
    elif read_mapping(path) and path.name == failure.FILE and failure.read(path.parent) is None:
        raise ConfigError(f"{path}: not the record of a failure")
