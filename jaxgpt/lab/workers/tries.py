"""What failed during this call, told from what had failed before it without asking any clock."""

from pathlib import Path

from jaxgpt.lab.sweep.plan import Cell, Plan
from jaxgpt.lab.workers import failure
from jaxgpt.spec import JaxgptError


class Tries:
    """One call's view of the failures beside the runs of a plan.

    A failure that is on record when the call begins is an old one: the run is tried again. One that replaces it, by
    this worker or by another, is of this call: the run has had its try. Times are not compared: the clock of the
    machine that failed may be ahead, and what it wrote would seem to lie in the future for ever.
    """

    def __init__(self, plan: Plan, folder: Path):
        self._folder = folder
        self._before = {cell.path: failure.read(folder / cell.path) for cell in plan.cells}
        self._unwritten: dict[Path, failure.Failure] = {}

    def failed_since(self, cell: Cell) -> failure.Failure | None:
        """The run's failure, if it is of this call."""
        if (failed := self._unwritten.get(cell.path)) is not None:
            return failed
        failed = failure.read(self._folder / cell.path)
        return None if failed == self._before[cell.path] else failed

    def record(self, cell: Cell, error: Exception, cls: failure.Class) -> failure.Failure:
        """Writes the failure beside the run; remembers it where that cannot be."""
        before = self._unwritten.get(cell.path) or failure.read(self._folder / cell.path)
        attempts = 1 + (before.attempts if before is not None and before.cls == cls else 0)
        failed = failure.describe(error, cls, attempts)
        try:
            failure.record(self._folder / cell.path, error, failed)
        except JaxgptError:  # the disk is full, or something of this name is in the way
            self._unwritten[cell.path] = failed
        return failed
