"""One writer a run: who keeps the files, when several processes train it."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxgpt.parallel.processes.agreement import from_first, process_count, process_index, raise_together
from jaxgpt.spec import JaxgptError


@contextmanager
def writer_folder(out: Path) -> Iterator[Path]:
    """Where this process keeps a run's files: `out` in the first process, a folder that goes with it in the others.

    So all do the same, and one leaves something. Checkpoints are not kept here: all processes write them together.
    """
    if process_index() == 0:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="jaxgpt-") as folder:
        yield Path(folder)


def check_shared(out: Path) -> None:
    """Raises JaxgptError in all processes when one does not see what the first writes to `out`."""
    if process_count() == 1:
        return
    # A name that nobody has looked for: network file systems remember for a while what was not there.
    mark = out / f".shared_{from_first('mark', uuid.uuid4().hex)}"
    try:
        with raise_together("write the mark"):
            if process_index() == 0:
                mark.touch()
        with raise_together("see the mark"):
            if not mark.exists():
                raise JaxgptError(
                    f"{out.absolute()}: process {process_index()} does not see what process 0 writes there; "
                    "choose an --out on a file system that all hosts share"
                )
    finally:
        if process_index() == 0:
            mark.unlink(missing_ok=True)
