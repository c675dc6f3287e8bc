"""No workers: the process that was asked does the work."""

from pathlib import Path

from jaxgpt.lab.workers.engines.engine import Engine


class Nobody:
    """A crew without workers."""

    def alive(self) -> int:
        """0."""
        return 0

    def describe(self) -> list[str]:
        """Nothing."""
        return []

    def stop(self) -> None:
        """Does nothing."""


class Here(Engine):
    """The process that was asked does the work itself; more may join with `jaxgpt lab work`."""

    def start(self, folder: Path) -> Nobody:
        """Starts nothing."""
        return Nobody()
