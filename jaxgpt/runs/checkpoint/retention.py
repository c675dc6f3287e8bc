"""Which checkpoint folders there are, which is marked best, which stay. A name that a reader looks for is complete.

A folder is put in place, set aside and dropped by renaming, so no kill leaves a half under its name.
"""

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from jaxgpt.disk import sync_dir, write_json_atomic
from jaxgpt.spec import ConfigError
from jaxgpt.spec.small_file import read_small
from jaxgpt.terminal import say

_STEP = re.compile(r"(\.replaced_)?step_(\d{8,})")

TRIES, PAUSE = 20, 0.01
"""Times that a folder is removed where something keeps appearing in it, and seconds between."""


def warn(line: str) -> None:
    """Says one line on the console in red, never wrapped."""
    say(line, "bold red")


def folder_name(step: int) -> str:
    """The name of the folder that holds a step's checkpoint: `200` -> `step_00000200`."""
    return f"step_{step:08d}"


def start_draft(final: Path) -> None:
    """Makes the empty folder `draft_of(final)`. Removes what earlier, killed saves left."""
    for leftover in final.parent.glob(".draft_*"):
        drop(leftover)
    draft_of(final).mkdir(parents=True)


def draft_of(final: Path) -> Path:
    """Where a folder is while it is being written or deleted."""
    return final.with_name(f".draft_{final.name}")


def publish(draft: Path, final: Path) -> None:
    """Renames a complete draft into place. An older folder of that name is set aside for `retain` to drop."""
    aside = final.with_name(f".replaced_{final.name}")
    if final.exists():
        drop(aside)
        final.rename(aside)
    draft.rename(final)
    sync_dir(final.parent)


def steps(directory: Path) -> dict[int, Path]:
    """Folders by step, newest first. One that was set aside counts only while its successor is not in place."""
    if not directory.is_dir():
        return {}
    folders = [(int(match[2]), match[1], path) for path in directory.iterdir() if (match := _STEP.fullmatch(path.name))]
    replaced = {step: path for step, aside, path in folders if aside}
    current = {step: path for step, aside, path in folders if not aside}
    return dict(sorted((replaced | current).items(), reverse=True))


def mark_best(directory: Path, step: int, meta: dict[str, Any]) -> None:
    """Marks a step as the best one, in best.json."""
    write_json_atomic(directory / "best.json", {"step": step, "meta": meta})


def best_step(directory: Path) -> int | None:
    """The step marked best; None when none is, or when best.json cannot be read (which is said)."""
    path = directory / "best.json"
    try:
        return int(json.loads(read_small(path))["step"]) if os.path.lexists(path) else None
    except ConfigError as error:
        warn(str(error))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        warn(f"{path} cannot be read ({type(error).__name__})")
    return None


def retain(directory: Path, step: int, keep: int, pin: int | None = None) -> None:
    """Drops every folder that is neither `step` nor `pin`, nor among the newest `keep` up to it, nor marked best.

    Steps after it are of a future that the run has turned back from (damaged, or left by choice): they go as well, or
    the next resume would take one of them.
    """
    best = best_step(directory)
    if best is not None and best > step:
        (directory / "best.json").unlink()
    past = [number for number in steps(directory) if number <= step]
    staying = {
        folder_name(number) for number in (step, *past[:keep], *(number for number in past if number in (best, pin)))
    }
    for path in list(directory.iterdir()):
        if _STEP.fullmatch(path.name) and path.name not in staying:
            doomed = draft_of(path)
            os.replace(path, doomed)
            drop(doomed)


def drop(path: Path) -> None:
    """Removes a folder, or whatever else stands under its name; nothing where there is none, or what cannot be removed.

    A thread may be within a call that puts a file there still, so that the folder is not empty when it is to go.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for _ in range(TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(PAUSE)
