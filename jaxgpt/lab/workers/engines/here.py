"""No workers: the process that was asked does the work."""

from pathlib import Path

from jaxgpt.lab.workers.engines.engine import Engine


class Nobody:
    """A crew without workers, for sweeps that the calling process does itself."""

    def alive(self) -> int:
        """No worker is ever alive: the calling process does the work."""
        return 0

    def describe(self) -> list[str]:
        """No lines: there is nobody to describe."""
        return []

    def stop(self) -> None:
        """Does nothing, as no worker was started."""


class Here(Engine):
    """The process that was asked does the work itself; more may join with `jaxgpt lab work`."""

    here = True

    def start(self, folder: Path) -> Nobody:
        """Returns a crew of no workers."""
        return Nobody()
