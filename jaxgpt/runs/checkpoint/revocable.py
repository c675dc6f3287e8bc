"""A second path to a folder, for writers whose threads may go on after they have failed: it can be taken away."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path


@contextmanager
def revocable(folder: Path) -> Iterator[Path]:
    """A path of letters and digits that leads to `folder`, until the block ends.

    Where the block raises, the path leads to a device file from then on: threads that it left behind can write nothing
    to `folder`, nor make it anew, nor reach another folder of that name.
    """
    place = Path(tempfile.mkdtemp(prefix="jaxgpt-"))
    path, nowhere = place / "folder", place / "nowhere"
    try:
        path.symlink_to(folder.resolve())
        nowhere.symlink_to(os.devnull)  # now: a full disk may take none later
        yield path
    except BaseException:
        if nowhere.is_symlink():
            os.replace(nowhere, path)
        atexit.register(partial(shutil.rmtree, place, ignore_errors=True))
        raise
    shutil.rmtree(place, ignore_errors=True)
